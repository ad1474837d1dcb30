"""Weights that do not fill a component are refused, whichever library loads it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from octabox import demo
from octabox.engine.worker.loading.completeness import require_all_weights
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


@pytest.mark.parametrize("component", CLASSES)
def test_all_weights(component: str) -> None:
    """They are loaded as without the check, and what the caller requests is returned."""
    with require_all_weights("x"):
        loaded = CLASSES[component].from_pretrained(demo.FOLDER, subfolder=component)
        again, report = CLASSES[component].from_pretrained(demo.FOLDER, subfolder=component, output_loading_info=True)

    assert isinstance(loaded, CLASSES[component])
    assert isinstance(again, CLASSES[component])
    assert "missing_keys" in report
