"""Weights that do not fill a component are refused, whichever library loads it, as are components of two models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from octabox import demo
from octabox.engine.worker.loading.completeness import check_widths, require_all_weights
from octabox.errors import IncompatibleWeightsError

Tensors = dict[str, torch.Tensor]

CLASSES: dict[str, Any] = {"text_encoder": CLIPTextModel, "unet": UNet2DConditionModel, "vae": AutoencoderKL}


def renamed(tensors: Tensors) -> Tensors:
    """Return tensors under the names of another class."""
    return {f"cond_stage_model.{name}": value for name, value in tensors.items()}


def shortened(tensors: Tensors) -> Tensors:
    """Return all tensors but one."""
    return dict(list(tensors.items())[1:])


def widened(tensors: Tensors) -> Tensors:
    """Return tensors of which one has another shape."""
    name = next(name for name, value in tensors.items() if value.ndim == 1)
    return {**tensors, name: torch.zeros(7)}


@pytest.mark.parametrize("component", CLASSES)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (renamed, "lack .* others instead, such as cond_stage_model"),
        (shortened, "lack 1 of the"),
        (widened, "do not fit"),
    ],
)
def test_other_weights(tmp_path: Path, component: str, change: Callable[[Tensors], Tensors], said: str) -> None:
    """The error names the model, the folder and the tensors."""
    folder = tmp_path / component
    shutil.copytree(demo.FOLDER / component, folder)
    file = next(folder.glob("*.safetensors"))
    save_file(change(load_file(file)), file, {"format": "pt"})

    with (
        pytest.raises(IncompatibleWeightsError, match=f"'x': the weights in {folder} {said}"),
        require_all_weights("x"),
    ):
        CLASSES[component].from_pretrained(folder)


@pytest.mark.parametrize("component", ["unet", "vae"])
def test_layers_that_are_not_used_are_reported(tmp_path: Path, component: str) -> None:
    """With their names; buffers of old versions and numbers about the training are not layers."""
    folder = tmp_path / component
    shutil.copytree(demo.FOLDER / component, folder)
    file = next(folder.glob("*.safetensors"))
    more = {name: torch.ones(1) for name in ("more.weight", "more.bias", "position_ids", "model_ema.decay")}
    save_file({**load_file(file), **more}, file, {"format": "pt"})

    with require_all_weights("x") as notes:
        CLASSES[component].from_pretrained(folder)

    name = CLASSES[component].__name__
    assert [f"{name} does not use 2 tensors of its weights: more.bias, more.weight."] == notes


@pytest.mark.parametrize("component", CLASSES)
def test_all_weights(component: str) -> None:
    """They are loaded as without the check, and what the caller requests is returned."""
    with require_all_weights("x"):
        loaded = CLASSES[component].from_pretrained(demo.FOLDER, subfolder=component)
        again, report = CLASSES[component].from_pretrained(demo.FOLDER, subfolder=component, output_loading_info=True)

    assert isinstance(loaded, CLASSES[component])
    assert isinstance(again, CLASSES[component])
    assert "missing_keys" in report


def encoder(width: int, tokens: int = 100) -> Any:
    """Return a text encoder of this width."""
    table = torch.nn.Embedding(tokens, width)
    return SimpleNamespace(config={"hidden_size": width, "layers": 2}, get_input_embeddings=lambda: table)


def denoiser(attention: int, projected: int | None = None) -> torch.nn.Module:
    """Return a denoiser whose attention takes features of a width, which may be changed from another one before."""
    module = torch.nn.ModuleDict({"attention": torch.nn.Linear(attention, 7), "inner": torch.nn.Linear(7, 7)})
    if projected:
        module["projection"] = torch.nn.Linear(projected, attention)
    module.config = {"cross_attention_dim": attention}  # type: ignore[assignment]
    return module


TOKENIZER = SimpleNamespace(vocab_size=100)


@pytest.mark.parametrize(
    "components",
    [
        {"tokenizer": TOKENIZER, "text_encoder": encoder(64), "unet": denoiser(64)},
        {"tokenizer": None, "text_encoder": encoder(64), "text_encoder_2": encoder(48), "unet": denoiser(112)},
        {"text_encoder": encoder(64), "text_encoder_2": encoder(48), "unet": denoiser(48)},
        {"text_encoder": encoder(64), "transformer": denoiser(96, projected=64)},
        {"text_encoder": None, "unet": denoiser(96)},
        {"tokenizer": TOKENIZER, "text_encoder": encoder(64, tokens=128), "unet": SimpleNamespace(config=None)},
        {"tokenizer": TOKENIZER, "unet": denoiser(96)},
        {"tokenizer": TOKENIZER, "text_encoder": SimpleNamespace(config={}), "unet": denoiser(96)},
    ],
)
def test_components_of_one_model(components: dict[str, Any]) -> None:
    """One encoder, several that are joined or selected from, features of another width, and missing components."""
    check_widths("x", components)


@pytest.mark.parametrize(
    ("components", "said"),
    [
        ({"text_encoder": encoder(64), "unet": denoiser(96)}, "unet takes text features of width 96, .* width 64"),
        ({"text_encoder": encoder(64), "text_encoder_2": encoder(48), "unet": denoiser(96)}, "width 64 and 48"),
        ({"tokenizer_2": TOKENIZER, "text_encoder_2": encoder(64, tokens=99)}, "tokenizer_2 has 100 tokens, .* 99"),
    ],
)
def test_components_of_two_models(components: dict[str, Any], said: str) -> None:
    """The error names the component and both sizes."""
    with pytest.raises(IncompatibleWeightsError, match=f"'x': .*{said}"):
        check_widths("x", components)
