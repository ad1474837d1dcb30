"""The configuration of a ControlNet follows from that of the denoiser, and from the shapes of its tensors."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel
from safetensors.torch import load_file

from control import embedded
from octabox import demo
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.single_files.derived_config import derive_settings, derived_config
from octabox.errors import IncompatibleWeightsError
from octabox.hub.checkpoints.tensors import read_shapes
from octabox.hub.component_configs import denoiser_config
from trained import EDGES

UNET = denoiser_config(str(demo.FOLDER))


def built(**settings: Any) -> ControlNetModel:
    """Return a ControlNet for the embedded model, but for some settings."""
    known = {name: UNET[name] for name in ControlNetModel._get_init_keys(ControlNetModel) if name in UNET}
    net: ControlNetModel = ControlNetModel.from_config({**known, **settings})
    return net


@pytest.mark.parametrize(
    "settings",
    [
        {"conditioning_embedding_out_channels": (8, 24, 40)},
        {"conditioning_embedding_out_channels": (16,), "conditioning_channels": 4},
        {"conditioning_embedding_out_channels": (9, 16, 16, 16, 32), "in_channels": 9},
    ],
)
def test_sizes_that_differ_from_the_defaults(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Of one value or of several, and of a denoiser with other channels."""
    torch.manual_seed(0)
    net = built(**settings)
    net.save_pretrained(tmp_path)
    shapes = read_shapes(tmp_path / "diffusion_pytorch_model.safetensors")
    found = derive_settings(ControlNetModel, shapes, UNET)

    assert {name: list(each) if isinstance(each, tuple) else each for name, each in settings.items()} == {
        name: found[name] for name in settings
    }
    assert {name: tuple(each.shape) for name, each in net.state_dict().items()} == dict(shapes)


def test_a_file_alone_is_loaded(tmp_path: Path) -> None:
    """With the very weights that are loaded with its configuration."""
    file = tmp_path / "edges.safetensors"
    shutil.copy(EDGES / "diffusion_pytorch_model.safetensors", file)
    config = embedded(components={"controlnet": {"model": str(file)}})
    net = load(config, "StableDiffusionPipeline", WorkerOptions(device="cpu")).extra_components["controlnet"]

    tensors = load_file(file)
    assert tensors.keys() == net.state_dict().keys()
    assert all(torch.equal(tensors[name].float(), each) for name, each in net.state_dict().items())


def test_a_file_for_another_denoiser_is_refused(tmp_path: Path) -> None:
    """The error names the file."""
    built(block_out_channels=(8, 16), norm_num_groups=4).save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    (tmp_path / "config.json").unlink()

    with pytest.raises(IncompatibleWeightsError, match=str(file)):
        load(embedded(components={"controlnet": {"model": str(file)}}), "StableDiffusionPipeline", WorkerOptions())


def test_without_a_denoiser_there_is_none() -> None:
    """No other configuration is guessed."""
    with derived_config(ControlNetModel, {}, {}) as found:
        assert {} == found
