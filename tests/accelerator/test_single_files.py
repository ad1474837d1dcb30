"""Models in single files are read straight onto an accelerator."""

from __future__ import annotations

import gc
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from calling import call, run
from ldm_layout import save_single_file, tiny_sd
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading import checkpoints
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.runner import Runner
from pretended_accelerator import Control

NAME = "StableDiffusionPipeline"
PARAMS = {"prompt": "a cat", "num_inference_steps": 2, "width": 16, "height": 16}

#: What each file lacks.
FILES: dict[str, tuple[str, ...]] = {"all": (), "no-vae": ("vae",), "denoiser": ("vae", "text_encoder")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny model in diffusers' format and as single files."""
    folder = tmp_path_factory.mktemp("single")
    pipe = tiny_sd(clip=True)
    pipe.save_pretrained(folder / "whole")
    for name, without in FILES.items():
        save_single_file(pipe, folder / f"{name}.safetensors", without=without)
    return folder


def modules(pipe: Any) -> dict[str, torch.nn.Module]:
    """Return the components with weights."""
    return {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}


def image_of(folder: Path, file: str, **fields: Any) -> tuple[Any, Any]:
    """Return the pipeline of a file, and its image."""
    known = {"name": "x", "model": str(folder / f"{file}.safetensors"), "config": str(folder / "whole")}
    config = ModelConfig.model_validate({**known, "dtype": "float32", "memory": "full", **fields})
    model = load(config, NAME, WorkerOptions(device="fake"))
    return model.pipeline, np.asarray(run(Runner(model), call(NAME, PARAMS)).outputs[0][0].value)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_no_weight_is_moved_by_the_pipeline(
    file: str, dtype: str, folder: Path, accelerator: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the pipeline is made, all its bytes are on the device already; the image is that of weights that are moved."""
    gc.collect()
    before, held = accelerator.allocated(), dict[str, int]()
    create = StableDiffusionPipeline.__init__

    @wraps(create)
    def observed(pipe: Any, *args: Any, **components: Any) -> None:
        found = [part for part in components.values() if isinstance(part, torch.nn.Module)]
        held["device"] = accelerator.allocated() - before
        held["weights"] = sum(each.nbytes for part in found for each in part.parameters())
        held["host"] = sum(each.nbytes for part in found for each in part.parameters() if each.device.type == "cpu")
        create(pipe, *args, **components)

    with monkeypatch.context() as context:
        context.setattr(StableDiffusionPipeline, "__init__", observed)
        pipe, direct = image_of(folder, file, dtype=dtype)
    dtypes = {part.dtype for part in modules(pipe).values()}
    monkeypatch.setattr(checkpoints, "can_load_on_device", lambda *_: False)

    assert {getattr(torch, dtype)} == dtypes
    assert 0 == held["host"]
    assert held["weights"] <= held["device"] < held["weights"] * 1.1 + 10_000
    assert np.array_equal(direct, image_of(folder, file, dtype=dtype)[1])


@pytest.mark.parametrize("file", ["all", "no-vae"])
def test_a_component_is_read_in_its_own_dtype(file: str, folder: Path) -> None:
    """From the numbers of the file: those that were rounded to the dtype of the model would be others."""
    pipe, _ = image_of(folder, file, dtype="bfloat16", components={"vae": {"dtype": "float32"}})
    whole = StableDiffusionPipeline.from_pretrained(folder / "whole", local_files_only=True).vae.state_dict()

    assert {"fake"} == {each.device.type for each in pipe.vae.parameters()}
    assert all(torch.equal(whole[name], weight.cpu()) for name, weight in pipe.vae.state_dict().items())


@pytest.mark.parametrize("memory", ["model_cpu_offload", "sequential_cpu_offload"])
def test_a_file_that_is_offloaded_is_read_to_the_host(memory: str, folder: Path, accelerator: Control) -> None:
    """It is not on the device as a whole at any time."""
    gc.collect()
    accelerator.reset()
    before = accelerator.peak()
    config = {"name": "x", "model": str(folder / "all.safetensors"), "config": str(folder / "whole"), "memory": memory}
    model = load(ModelConfig.model_validate(config), NAME, WorkerOptions(device="fake"))

    assert accelerator.peak() - before < sum(each.nbytes for each in model.pipeline.unet.parameters())
