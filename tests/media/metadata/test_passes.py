"""The guidance of a call, and what a second pass has of its own, in the words of the AUTOMATIC1111 web UI."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.media.metadata.infotext import format_infotext, parse_infotext
from octabox.media.metadata.passes import parse_sides


@pytest.mark.parametrize(
    "hires",
    [
        {"model": "other", "scheduler": {"name": "DDIM"}},
        {"scheduler": {"name": "DPM++ 2M", "schedule": "Karras"}, "params": {"prompt": "a: b, c\nd"}},
        {"params": {"negative_prompt": "n", "guidance_scale": 2.0}},
        {"params": {"true_cfg_scale": 2.0, "guidance_scale": 3.0}},
    ],
)
def test_a_second_pass_is_read_back(hires: dict[str, Any]) -> None:
    """Its model, its scheduler and its call parameters."""
    part = {"upscaler": "lanczos", "scale": 2.0, "strength": 0.5, **hires}
    text = format_infotext({"params": {"prompt": "x"}, "seed": 1, "workflow": {"hires": part}})

    assert part == parse_infotext(text)["workflow"]["hires"]


@pytest.mark.parametrize(
    ("params", "pairs"),
    [
        ({"guidance_scale": 7.0}, "CFG scale: 7.0"),
        ({"true_cfg_scale": 2.0, "guidance_scale": 3.5}, "CFG scale: 2.0, Distilled CFG Scale: 3.5"),
        ({"image_guidance_scale": 1.5}, "Image CFG scale: 1.5"),
    ],
)
def test_guidance(params: dict[str, float], pairs: str) -> None:
    """A pipeline may have that of distilled models next to classifier-free guidance, or one of the image."""
    text = format_infotext({"params": {"prompt": "x", "num_inference_steps": 4, **params}, "seed": 1, "model": "m"})

    assert pairs in text
    assert {"prompt": "x", "num_inference_steps": 4, **params} == parse_infotext(text)["params"]


def test_another_schedule_alone_is_one_of_the_same_sampler() -> None:
    """The web UI writes what differs from the first pass."""
    text = "x\nSteps: 4, Sampler: Euler, Schedule type: Karras, Seed: 1, Hires upscale: 2, Hires schedule type: Exponential"

    assert {"name": "Euler", "schedule": "Exponential"} == parse_infotext(text)["workflow"]["hires"]["scheduler"]


@pytest.mark.parametrize("text", ["²x²", "1" * 5000 + "x1", "x", "512", "512x768x1", "-1x2"])
def test_other_texts_are_no_size(text: str) -> None:
    """Nor are digits that are no decimal ones, or more of them than Python makes a number of."""
    assert {} == parse_sides(text)
    assert "width" not in parse_infotext(f"a star\nSteps: 1, Size: {text}, Seed: 1")["params"]


def test_a_size_is_its_sides() -> None:
    """In pixels."""
    assert {"width": 512, "height": 768} == parse_sides("512x768")
