"""Networks of the ESRGAN kind, told by their tensors."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import upscalers
from octabox.hub.checkpoints.families import detect_family, match_family
from octabox.hub.checkpoints.tensors import Shapes

#: Architectures of spandrel that are told by no rule: they mend an image, or fill or find something in it.
UNTOLD = {"DnCNN", "FFTformer", "HVICIDNet", "IPT", "LaMa", "MixDehazeNet", "RetinexFormer", "Uformer"}

#: What other files are taken for: both are for faces that were cut out.
OTHERS = {"GFPGAN": "face-restoration", "RestoreFormer": "face-restoration"}

#: What some architectures cannot be made without.
NEEDED: dict[str, dict[str, Any]] = {
    "AuraSR": {
        "dim": 8,
        "image_size": 64,
        "input_image_size": 16,
        "style_network": {"dim_in": 8, "dim_out": 8, "depth": 1},
    },
    "MMRealSR": {"num_in_ch": 3, "num_out_ch": 3, "scale": 4, "num_feat": 4, "num_block": 1},
    "SAFMN": {"dim": 8},
    "SAFMNBCIE": {"dim": 8},
    "SPAN": {"num_in_ch": 3, "num_out_ch": 3},
    "Swin2SR": {"window_size": 8},
    "SwinIR": {"window_size": 8},
}


def networks() -> dict[str, list[type[torch.nn.Module]]]:
    """Return the classes of each architecture that spandrel has."""
    package = importlib.import_module("spandrel.architectures")
    names = [each.name for each in pkgutil.iter_modules(package.__path__) if not each.name.startswith("__")]
    modules = {name: importlib.import_module(f"{package.__name__}.{name}") for name in names}
    return {
        name: [kind for each in module.__all__ if _is_network(kind := getattr(module, each))]
        for name, module in modules.items()
    }


def _is_network(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, torch.nn.Module)


def shapes(network: Any) -> Shapes:
    """Return the shapes of a network's weights."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("architecture", networks())
def test_every_architecture_is_told(architecture: str) -> None:
    """What spandrel makes images larger by is told from all else, and from what only mends them."""
    kind = networks()[architecture][0]
    with warnings.catch_warnings():
        # What torch says to an architecture's author is no concern of ours.
        warnings.simplefilter("ignore")
        family = match_family(shapes(kind(**NEEDED.get(architecture, {}))))

    expected = None if architecture in UNTOLD else OTHERS.get(architecture, "upscaler")
    assert expected == (family.name if family else None)


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_a_file_is_told(name: str, tmp_path: Path) -> None:
    """A file of such a network is of our pipeline."""
    for network in (upscalers.nearest(2), upscalers.esrgan(4)):
        assert "ImageUpscalingPipeline" == detect_family(upscalers.save(network, tmp_path / name)).pipeline


def test_a_network_for_faces_is_told(tmp_path: Path) -> None:
    """A file of what restores cropped faces is of the pipeline that finds and restores them."""
    weights = {name: torch.zeros(1) for name in ("stylegan_decoder.style_mlp.1.weight", "toRGB.0.weight")}
    torch.save({"params_ema": weights}, tmp_path / "x.pth")

    assert detect_family(tmp_path / "x.pth").pipeline == "FaceRestorationPipeline"


def test_a_text_encoder_is_none() -> None:
    """Two layers that follow each other are no network of the compact kind, if they are not shaped like one."""
    assert match_family({"body.0.weight": (64, 64), "body.1.weight": (64,)}) is None
    assert match_family({"body.0.weight": (64, 3, 3, 3), "body.1.weight": (64, 64, 3, 3)}) is None
