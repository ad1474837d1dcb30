"""Models that are read straight onto an accelerator."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import makers
from calling import call, run
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.engine.memory.estimate import weight_bytes
from octabox.engine.messages import Start, WorkerOptions
from octabox.engine.worker.loading import models, modular
from octabox.engine.worker.loading.device_map import can_load_on_device, load_on_device
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.memory_modes import loading as memory_loading
from octabox.engine.worker.outputs.numbers import to_numpy
from octabox.engine.worker.placement.process_memory import release_memory
from octabox.engine.worker.runner import Runner
from octabox.engine.worker.trial import TrialRunner
from pretended_accelerator import Control

#: Classes with components of diffusers alone, of transformers too, with tied weights, and of blocks.
CLASSES = ("DDPMPipeline", "StableDiffusionPipeline", "FluxPipeline", "StableDiffusionXLModularPipeline")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny model of each class."""
    folder = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        # What diffusers says to whoever makes and saves pipelines is no concern here.
        warnings.simplefilter("ignore")
        for name in CLASSES:
            makers.pipelines()[name].make().save_pretrained(str(folder / name))
    return folder


def config(folder: Path, name: str, **fields: Any) -> ModelConfig:
    """Return a model's configuration."""
    known = {"name": "x", "model": str(folder / name), "dtype": "float32", "memory": "full"}
    return ModelConfig.model_validate({**known, **fields})


def loaded(folder: Path, name: str, accelerator: Control, **fields: Any) -> tuple[Any, int, int]:
    """Return what a model makes, the bytes that it has on the device, and the most that there were while it was loaded."""
    gc.collect()
    accelerator.reset()
    before = accelerator.allocated()
    model = load(config(folder, name, **fields), name, WorkerOptions(device="fake"))
    held, most = accelerator.allocated() - before, accelerator.peak() - before
    entry = load_catalog().pipeline(name)
    params = {key: value for key, value in makers.pipelines()[name].params.items() if entry.parameter(key)}
    value = run(Runner(model), call(name, params)).outputs[0][0].value
    return to_numpy(value) if isinstance(value, torch.Tensor) else np.asarray(value), held, most


# Diffusers calls a method of its own that it has deprecated.
@pytest.mark.filterwarnings("ignore:`upcast_vae` is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_model_is_the_same_by_either_way(
    name: str, dtype: str, folder: Path, accelerator: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Components read onto the device make the bytes of those that are moved there, and take no more of its memory."""
    if (name, dtype) == ("DDPMPipeline", "float16"):
        dtype = "float32"
    direct, held, most = loaded(folder, name, accelerator, dtype=dtype)
    for module in (models, modular):
        monkeypatch.setattr(module, "can_load_on_device", lambda *_: False)
    moved, held_then, _ = loaded(folder, name, accelerator, dtype=dtype)

    assert np.array_equal(direct, moved)
    assert held_then >= held
    assert held * 1.2 + 100_000 > most


@pytest.mark.parametrize("name", [each for each in CLASSES if "Modular" not in each])
def test_weights_are_never_all_on_the_host(name: str, folder: Path) -> None:
    """Each component that is read has all its weights on the device before a pipeline is made of it, in its own dtype."""
    parts = load_on_device(config(folder, name), {"unet": torch.float16}, torch.bfloat16, "fake")

    assert parts
    for part_name, part in parts.items():
        assert {"fake"} == {weight.device.type for weight in [*part.parameters(), *part.buffers()]}
        assert (torch.float16 if part_name == "unet" else torch.bfloat16) == part.dtype


@pytest.mark.parametrize(
    "fields",
    [
        {"memory": "model_cpu_offload"},
        {"adapters": [{"lora": "some/lora"}]},
        {"ip_adapters": {"model": "some/adapter"}},
        {"components": {"unet": {"storage": "float8_e4m3fn"}}},
        {"components": {"unet": {"quantization": {"quant_backend": "torchao"}}}},
    ],
)
def test_what_is_yet_to_be_changed_goes_by_the_host(fields: dict[str, Any], folder: Path) -> None:
    """Weights that are offloaded later, or changed after they are read, are not loaded directly on the device."""
    assert not can_load_on_device(config(folder, CLASSES[0], **fields), "fake")
    assert can_load_on_device(config(folder, CLASSES[0]), "fake")
    assert not can_load_on_device(config(folder, CLASSES[0]), "cpu")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_file_may_be_read_as_a_whole(folder: Path, accelerator: Control) -> None:
    """`disable_mmap` does not change the result."""
    name = "StableDiffusionPipeline"
    plain, _, _ = loaded(folder, name, accelerator)
    whole, _, _ = loaded(folder, name, accelerator, disable_mmap=True)

    assert np.array_equal(plain, whole)


def automatic(folder: Path, occupied: int = 0, *, makes_room: bool = False, **fields: Any) -> TrialRunner:
    """Return what runs a Stable Diffusion model whose memory mode is selected."""
    name = "StableDiffusionPipeline"
    start = Start(config(folder, name, **{"memory": "auto", **fields}), name, WorkerOptions(device="fake"), occupied)
    return TrialRunner(load(start.model, name, start.options, occupied=occupied, makes_room=makes_room), start)


def short_call(model: TrialRunner) -> str | None:
    """Run a short call, and return the memory mode of it."""
    name = "StableDiffusionPipeline"
    entry = load_catalog().pipeline(name)
    params = {key: value for key, value in makers.pipelines()[name].params.items() if entry.parameter(key)}
    model.note_state()
    model.run(call(name, params), lambda _: None, lambda: None)
    return model.modes.memory().mode


def test_a_load_that_runs_out_of_memory_is_repeated_in_the_next_mode(folder: Path, accelerator: Control) -> None:
    """In the mode `auto` alone, whose selection was wrong; the mode that has failed is not selected for the calls either."""
    accelerator.fail("out of memory", after=30)
    model = automatic(folder)
    measured = model.modes.memory()

    assert "encoder_offload" == measured.mode
    assert "Memory ran out while the model was loaded in the mode full." == measured.reason
    assert "encoder_offload" == short_call(model)
    accelerator.fail("out of memory", after=30)
    with pytest.raises(Exception, match="memory"):
        automatic(folder, memory="full")


def test_a_model_of_unknown_size_is_loaded_where_it_fits(
    folder: Path, accelerator: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where not even the next mode is enough, the one after it; what failed loads have taken is released."""
    weights = weight_bytes(config(folder, "StableDiffusionPipeline"), "fake:0", "float32") or {}
    monkeypatch.setattr(memory_loading, "file_sizes", lambda *_: None)
    release_memory("fake:0")
    accelerator.settings.memory = accelerator.reserved() + max(weights.values()) + 20_000

    assert automatic(folder).modes.memory().mode in {"model_cpu_offload", "group_offload"}


def test_a_load_that_the_server_makes_room_for_is_not_repeated_by_the_worker(
    folder: Path, accelerator: Control
) -> None:
    """The server takes another model off the device, so that this one can be there as a whole."""
    accelerator.fail("out of memory", after=30)

    with pytest.raises(Exception, match="memory"):
        automatic(folder, occupied=1, makes_room=True)


def test_a_load_beside_models_that_stay_is_repeated_in_the_next_mode(folder: Path, accelerator: Control) -> None:
    """A part of the device is held by models that are pinned or in use, so that only a slower mode helps."""
    accelerator.fail("out of memory", after=30)

    assert "encoder_offload" == automatic(folder, occupied=1).modes.memory().mode
