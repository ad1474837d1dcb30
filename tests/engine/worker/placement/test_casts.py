"""Components of several dtypes in one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from calling import call, run
from ldm_layout import tiny_sd
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import LoadedModel, load
from octabox.engine.worker.placement.casts import find_compute_dtype, has_mixed_dtypes, install_casts
from octabox.engine.worker.runner import Runner
from tiny import unet

pytestmark = pytest.mark.slow

KIND, SIBLING = "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"

PARAMS = {"prompt": "a cat", "num_inference_steps": 2}

HALF = torch.bfloat16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_sd().save_pretrained(folder)
    return folder


def loaded(folder: Path, dtype: str, **components: str) -> LoadedModel:
    """Return a model, and components of it in other dtypes."""
    parts = {name: {"dtype": own} for name, own in components.items()}
    config = {"name": "x", "model": str(folder), "dtype": dtype, "components": parts}
    return load(ModelConfig.model_validate(config), KIND, WorkerOptions(device="cpu"))


def picture(model: LoadedModel, runs_as: str = KIND) -> Any:
    """Return the pixels of a model's image; a sibling gets an image."""
    image = Image.new("RGB", (16, 16), "red")
    params = PARAMS if runs_as == SIBLING else {**PARAMS, "width": 16, "height": 16}
    made = run(Runner(model), call(runs_as, params, inputs={"image": [image]} if runs_as == SIBLING else None))
    return np.asarray(made.outputs[0][0].value, np.float32)


@pytest.mark.parametrize("component", ["vae", "text_encoder", "unet"])
@pytest.mark.parametrize("runs_as", [KIND, SIBLING])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_component_in_float32_works_in_a_half_model(component: str, runs_as: str, dtype: str, folder: Path) -> None:
    """The configured dtype of a component holds, and the image is that of float32 within rounding."""
    mixed = loaded(folder, dtype, **{component: "float32"})

    assert torch.float32 == mixed.pipeline.components[component].dtype
    assert 8 > np.abs(picture(mixed, runs_as) - picture(loaded(folder, "float32"), runs_as)).mean()
    assert torch.float32 == mixed.pipeline.components[component].dtype


def test_a_half_component_works_in_a_model_of_float32(folder: Path) -> None:
    """A half-precision component works in a float32 model."""
    mixed = loaded(folder, "float32", unet="bfloat16")

    assert 8 > np.abs(picture(mixed) - picture(loaded(folder, "float32"))).mean()


def test_a_plain_model_has_no_casts(folder: Path) -> None:
    """A model of one dtype has no hooks on its components and no replaced methods."""
    for component in loaded(folder, "bfloat16").pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            assert not component._forward_pre_hooks
            assert not component._forward_hooks
            assert not {"encode", "decode"} & set(vars(component))


def test_an_input_is_cast_and_the_output_cast_back() -> None:
    """A component computes in its dtype and returns the dtype of its inputs."""
    part = unet().to(HALF)
    install_casts([part])
    sample, time = torch.ones(1, 3, 8, 8), torch.tensor(1)

    cast = part(sample, time).sample
    plain = part(sample.to(HALF), time).sample

    assert (torch.float32, HALF) == (cast.dtype, plain.dtype)
    assert torch.equal(cast, plain.float())
    assert torch.equal(cast, part(sample, time, return_dict=False)[0])


def test_timesteps_are_not_cast() -> None:
    """A timestep keeps its dtype: 999 is not a number of bfloat16."""
    seen: list[torch.Tensor] = []
    part = unet().to(HALF)
    install_casts([part])
    part.register_forward_pre_hook(lambda _, args, kwargs: seen.extend([args[1], *kwargs.values()]), with_kwargs=True)

    part(torch.ones(1, 3, 8, 8), torch.tensor([999.0]))

    assert [torch.tensor([999.0])] == seen


def test_casts_follow_the_dtype_of_the_time() -> None:
    """A component that a pipeline casts temporarily gets inputs in its current dtype."""
    part = unet().to(HALF)
    install_casts([part, part])
    part.float()
    sample = torch.ones(1, 3, 8, 8)

    assert torch.float32 == find_compute_dtype(part) == part(sample, 1).sample.dtype
    assert 1 == len(part._forward_pre_hooks)


def test_parts_without_weights_have_no_dtype() -> None:
    """Components without floating-point weights are ignored."""
    assert not has_mixed_dtypes([unet(), torch.nn.ReLU(), "a tokenizer", None])
    assert has_mixed_dtypes([unet(), unet().to(HALF)])
