"""Performance settings on an accelerator: the image is the processor's, in every memory mode, and what is told is true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import makers
from calling import Watcher, call
from ldm_layout import tiny_sd
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import LoadedModel, load
from octabox.engine.worker.runner import Runner
from octabox.types import PerformanceReport
from pretended_accelerator import Control

pytestmark = pytest.mark.slow

UNET, TRANSFORMER = "StableDiffusionPipeline", "FluxPipeline"

#: Calls that are over at once, by class.
PARAMS: dict[str, dict[str, Any]] = {
    UNET: {"prompt": "a cat", "num_inference_steps": 2, "width": 16, "height": 16},
    TRANSFORMER: {
        "prompt": "a cat",
        "num_inference_steps": 2,
        "width": 32,
        "height": 32,
        "max_sequence_length": 16,
    },
}

#: The profile without what compiles: no compiler of torch's makes code for this device.
UNCOMPILED = {"profile": "fast", "compile": "off"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny model of each class."""
    folder = tmp_path_factory.mktemp("models")
    tiny_sd().save_pretrained(folder / UNET)
    makers.pipelines()[TRANSFORMER].make().save_pretrained(folder / TRANSFORMER)
    return folder


def loaded(folder: Path, kind: str, device: str = "fake", **fields: Any) -> LoadedModel:
    """Return a model in float32 on a device."""
    config = ModelConfig.model_validate({"name": "x", "model": str(folder / kind), "dtype": "float32", **fields})
    return load(config, kind, WorkerOptions(device=device))


def made(model: LoadedModel, kind: str) -> tuple[Any, tuple[str, ...]]:
    """Return the pixels of an image, and the warnings."""
    watcher = Watcher()
    done = Runner(model).run(call(kind, PARAMS[kind]), watcher.tell, watcher.check)
    return np.asarray(done.outputs[0][0].value, np.float32), done.warnings


def report(model: LoadedModel) -> PerformanceReport:
    """Return what became of each setting."""
    assert model.performance is not None
    return model.performance.report


@pytest.mark.parametrize(
    ("memory", "applied"),
    [
        ("full", {"channels_last", "fuse_qkv"}),
        ("model_cpu_offload", {"channels_last", "fuse_qkv"}),
        ("group_offload", {"channels_last"}),
        ("sequential_cpu_offload", set[str]()),
    ],
)
@pytest.mark.parametrize("kind", [UNET, TRANSFORMER])
def test_fast_gives_the_image_of_the_processor(kind: str, memory: str, applied: set[str], folder: Path) -> None:
    """Every setting that a memory mode allows is in effect, the others have their reasons, and the image is the same."""
    expected, _ = made(loaded(folder, kind, device="cpu"), kind)
    model = loaded(folder, kind, memory=memory, performance=UNCOMPILED)
    image, warnings = made(model, kind)

    assert () == warnings
    assert 2 >= np.abs(image - expected).max()
    assert applied == set(report(model).applied)
    assert {"channels_last", "fuse_qkv", "cudnn_benchmark", "tf32"} - applied == set(report(model).skipped)


@pytest.mark.parametrize("memory", ["full", "model_cpu_offload", "group_offload"])
def test_weights_stay_as_they_were_laid_out(memory: str, folder: Path) -> None:
    """Layers that move between calls, and within them, have their channels last afterwards too."""
    model = loaded(folder, UNET, memory=memory, performance={"channels_last": True})
    made(model, UNET)
    layers = [each for each in model.pipeline.unet.modules() if isinstance(each, torch.nn.Conv2d)]

    assert all(each.weight.is_contiguous(memory_format=torch.channels_last) for each in layers)


def test_attention_is_computed_on_the_device_by_a_backend(folder: Path, accelerator: Control) -> None:
    """A transformer takes one that works there, and makes the image of the processor."""
    expected, _ = made(loaded(folder, TRANSFORMER, device="cpu"), TRANSFORMER)
    model = loaded(folder, TRANSFORMER, performance={"attention": "_native_math"})
    accelerator.forget_counts()
    image, warnings = made(model, TRANSFORMER)

    assert () == warnings
    assert {"attention"} == set(report(model).applied)
    assert 2 >= np.abs(image - expected).max()


def test_a_model_that_cannot_be_compiled_there_runs_as_it_is(folder: Path) -> None:
    """The compiler makes no code for this device: the answer says so once, and the image is right."""
    expected, _ = made(loaded(folder, UNET, device="cpu"), UNET)
    model = loaded(folder, UNET, performance="fast")
    (first, warnings), (again, later) = made(model, UNET), made(model, UNET)

    assert ["could not be compiled" in each for each in warnings] == [True]
    assert () == later
    assert 2 >= np.abs(first - expected).max()
    assert np.array_equal(first, again)
