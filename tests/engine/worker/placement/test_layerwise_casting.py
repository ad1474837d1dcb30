"""Weights that are kept small between uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from ldm_layout import tiny_sd
from octabox.config.model import ModelConfig
from octabox.engine.conversions import Conversion
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.conversion import _convert
from octabox.engine.worker.loading.models import load
from octabox.errors import LoadError

KIND = "StableDiffusionPipeline"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_sd().save_pretrained(folder)
    return folder


def config(folder: Path, **components: str) -> ModelConfig:
    """Return a configuration with dtypes to keep components in."""
    parts = {name: {"storage": storage} for name, storage in components.items()}
    return ModelConfig.model_validate({"name": "x", "model": str(folder), "components": parts})


def pipeline(folder: Path, **components: str) -> Any:
    """Return a model whose components are kept so."""
    return load(config(folder, **components), KIND, WorkerOptions(device="cpu")).pipeline


def image(pipe: StableDiffusionPipeline) -> Any:
    """Return what a pipeline makes of one seed."""
    generator = torch.Generator().manual_seed(0)
    pipe.set_progress_bar_config(disable=True)
    return pipe("a cat", num_inference_steps=2, width=16, height=16, generator=generator, output_type="np").images


@pytest.mark.parametrize("storage", ["float8_e4m3fn", "float8_e5m2"])
def test_weights_wait_in_eight_bits(folder: Path, storage: str) -> None:
    """They are computed with in the model's own type, so that the image is nearly the same."""
    pipe = pipeline(folder, unet=storage, text_encoder=storage, vae=storage)
    kept = {weight.dtype for part in (pipe.unet, pipe.text_encoder, pipe.vae) for weight in part.parameters()}

    assert {getattr(torch, storage), torch.float32} == kept
    assert {torch.float32} == {pipe.unet.dtype, pipe.text_encoder.dtype, pipe.vae.dtype}
    assert 0.2 > np.abs(image(pipe) - image(pipeline(folder))).max()


def test_what_has_no_weights_is_told(folder: Path) -> None:
    """A tokenizer cannot be kept small."""
    with pytest.raises(LoadError, match="'tokenizer' has no weights"):
        pipeline(folder, tokenizer="float8_e5m2")


def test_a_folder_is_written_in_whole_numbers(folder: Path, tmp_path: Path) -> None:
    """The storage dtype has no effect on saved files."""
    order = Conversion(config(folder, unet="float8_e5m2"), KIND, tmp_path / "out", WorkerOptions(device="cpu"))
    _convert(order, tmp_path / "out")

    written = StableDiffusionPipeline.from_pretrained(tmp_path / "out").unet.state_dict()
    own = StableDiffusionPipeline.from_pretrained(folder).unet.state_dict()
    assert all(torch.equal(own[name], weight) for name, weight in written.items())
