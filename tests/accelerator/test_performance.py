"""Performance settings on an accelerator: every memory mode gives the image of the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import makers
from accelerator.tiny_models import MEMORY_MODES, pixels
from calling import Watcher, call
from ldm_layout import tiny_sd
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import LoadedModel, load
from octabox.engine.worker.runner import Runner
from octabox.types import PerformanceReport
from pretended_accelerator import Control

UNET, TRANSFORMER = "StableDiffusionPipeline", "FluxPipeline"

#: Parameters of short calls by class.
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

#: The fast profile without compilation, which this device does not support.
UNCOMPILED = {"profile": "fast", "compile": "off"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny model of each class."""
    folder = tmp_path_factory.mktemp("models")
    tiny_sd().save_pretrained(folder / UNET)
    makers.pipelines()[TRANSFORMER].make().save_pretrained(folder / TRANSFORMER)
    return folder


def load_model(folder: Path, pipeline: str, device: str = "fake", **fields: Any) -> LoadedModel:
    """Load a model in float32 on a device."""
    config = ModelConfig.model_validate({"name": "x", "model": str(folder / pipeline), "dtype": "float32", **fields})
    return load(config, pipeline, WorkerOptions(device=device))


def run_call(model: LoadedModel, pipeline: str) -> tuple[Any, tuple[str, ...]]:
    """Run a short call and return the pixels of its image, and the warnings."""
    watcher = Watcher()
    output = Runner(model).run(call(pipeline, PARAMS[pipeline]), watcher.tell, watcher.check)
    return pixels(output), output.warnings


def report(model: LoadedModel) -> PerformanceReport:
    """Return the report on each performance setting."""
    assert model.performance is not None
    return model.performance.report


@pytest.mark.parametrize("memory", MEMORY_MODES)
@pytest.mark.parametrize("pipeline", [UNET, TRANSFORMER])
def test_fast_profile_matches_the_cpu_in_every_memory_mode(pipeline: str, memory: str, folder: Path) -> None:
    """Layout and fused projections are applied before offloading, CUDA's settings are skipped, and the image is the same."""
    expected, _ = run_call(load_model(folder, pipeline, device="cpu"), pipeline)
    model = load_model(folder, pipeline, memory=memory, performance=UNCOMPILED)
    image, warnings = run_call(model, pipeline)

    assert () == warnings
    assert 2 >= np.abs(image - expected).max()
    assert {"channels_last", "fuse_qkv"} == set(report(model).applied)
    assert {"cudnn_benchmark", "tf32"} == set(report(model).skipped)


@pytest.mark.parametrize("memory", ["full", "model_cpu_offload", "group_offload"])
def test_offloading_keeps_the_memory_layout(memory: str, folder: Path) -> None:
    """Layers that move between calls, and within them, are channels last afterwards."""
    model = load_model(folder, UNET, memory=memory, performance={"channels_last": True})
    run_call(model, UNET)
    layers = [each for each in model.pipeline.unet.modules() if isinstance(each, torch.nn.Conv2d)]

    assert all(each.weight.is_contiguous(memory_format=torch.channels_last) for each in layers)


def test_an_attention_backend_computes_on_the_device(folder: Path, accelerator: Control) -> None:
    """A transformer with a backend that supports the device gives the image of the CPU."""
    expected, _ = run_call(load_model(folder, TRANSFORMER, device="cpu"), TRANSFORMER)
    model = load_model(folder, TRANSFORMER, performance={"attention": "_native_math"})
    accelerator.forget_counts()
    image, warnings = run_call(model, TRANSFORMER)

    assert () == warnings
    assert {"attention"} == set(report(model).applied)
    assert 2 >= np.abs(image - expected).max()


# torch's own import of inductor.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_a_model_that_cannot_be_compiled_runs_uncompiled(folder: Path) -> None:
    """The compiler does not support this device: the first response has a warning, and the image is correct."""
    expected, _ = run_call(load_model(folder, UNET, device="cpu"), UNET)
    model = load_model(folder, UNET, performance="fast")
    (first, warnings), (again, later) = run_call(model, UNET), run_call(model, UNET)

    assert ["could not be compiled" in each for each in warnings] == [True]
    assert () == later
    assert 2 >= np.abs(first - expected).max()
    assert np.array_equal(first, again)
