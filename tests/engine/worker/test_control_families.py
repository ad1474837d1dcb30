"""Several control components in families whose classes take lists of them in different ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import makers
from calling import call, run
from makers.samples import sample_image
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.component_types import unpack_components
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.runner import Runner

# Of the scheduler of Stable Diffusion XL, and of Flux's ControlNet.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated:FutureWarning"),
]


@pytest.mark.parametrize(
    ("plain", "steered", "part", "strength"),
    [
        (
            "StableDiffusionXLPipeline",
            "StableDiffusionXLControlNetPipeline",
            "controlnet",
            "controlnet_conditioning_scale",
        ),
        ("StableDiffusionXLPipeline", "StableDiffusionXLAdapterPipeline", "adapter", "adapter_conditioning_scale"),
        ("FluxPipeline", "FluxControlNetPipeline", "controlnet", "controlnet_conditioning_scale"),
        (
            "StableDiffusion3Pipeline",
            "StableDiffusion3ControlNetPipeline",
            "controlnet",
            "controlnet_conditioning_scale",
        ),
        ("HunyuanDiTPipeline", "HunyuanDiTControlNetPipeline", "controlnet", "controlnet_conditioning_scale"),
    ],
)
def test_two_of_a_kind(plain: str, steered: str, part: str, strength: str, tmp_path: Path) -> None:
    """Each is loaded, and has its image and its scale."""
    check_two(plain, steered, part, strength, tmp_path, count=2)


def test_one_component_with_several_images(tmp_path: Path) -> None:
    """A component that was trained for several conditions takes several images."""
    steered = "QwenImageControlNetPipeline"
    check_two("QwenImagePipeline", steered, "controlnet", "controlnet_conditioning_scale", tmp_path, count=1)


def check_two(plain: str, steered: str, part: str, strength: str, tmp_path: Path, *, count: int) -> None:
    """Check that two images condition a model with these components, each by its scale."""
    torch.manual_seed(0)
    tiny = makers.pipelines()[steered]
    pipe: Any = tiny.make()
    net = getattr(pipe, part)
    for weight in net.parameters():
        # As it is made, its last layers are zero, and it changes nothing.
        torch.nn.init.normal_(weight, std=0.2)
    net.save_pretrained(tmp_path / "net")
    makers.pipelines()[plain].make().save_pretrained(tmp_path / "model")
    parts = {part: [{"model": str(tmp_path / "net")}, {"model": str(tmp_path / "net"), "dtype": "float32"}][:count]}
    config = ModelConfig.model_validate({"name": "tiny", "model": str(tmp_path / "model"), "components": parts})
    runner = Runner(load(config, plain, WorkerOptions(device="cpu")))
    name = next(name for name in ("control_image", "image") if name in tiny.params or name == "image")
    known = {each.name for each in load_catalog().pipeline(steered).parameters if not each.is_media}
    params = {key: value for key, value in tiny.params.items() if key in known}

    def pixels(*scales: float) -> np.ndarray:
        inputs = {name: (sample_image(32, 32), sample_image(32, 32, shift=8))}
        made = run(runner, call(steered, {**params, strength: list(scales)}, inputs=inputs))
        return np.asarray(made.outputs[0][0].value)

    neither, first, second = pixels(0, 0), pixels(1, 0), pixels(0, 1)

    assert count == len(unpack_components(getattr(runner.pipelines[1], part)))
    assert not np.array_equal(neither, first)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, pixels(1, 0))
