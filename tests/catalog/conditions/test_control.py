"""What a call says to the components that steer it, told from signatures."""

from __future__ import annotations

import pytest

from octabox.catalog.conditions.control import control_component, control_image, has_modes, strengths
from octabox.catalog.pipelines import load_catalog

SPAN = ("control_guidance_start", "control_guidance_end")


@pytest.mark.parametrize(
    ("name", "component", "picture", "numbers", "modes"),
    [
        ("StableDiffusionPipeline", None, None, (), False),
        ("StableDiffusionControlNetPipeline", "controlnet", "image", ("controlnet_conditioning_scale", *SPAN), False),
        (
            "StableDiffusionControlNetImg2ImgPipeline",
            "controlnet",
            "control_image",
            ("controlnet_conditioning_scale", *SPAN),
            False,
        ),
        ("FluxControlNetPipeline", "controlnet", "control_image", (*SPAN, "controlnet_conditioning_scale"), True),
        ("StableDiffusionXLAdapterPipeline", "adapter", "image", ("adapter_conditioning_scale",), False),
        ("HunyuanDiTControlNetPipeline", "controlnet", "control_image", ("controlnet_conditioning_scale",), False),
    ],
)
def test_what_belongs_to_the_steering_component(
    name: str, component: str | None, image: str | None, numbers: tuple[str, ...], *, modes: bool
) -> None:
    """Its image, its numbers, and whether one component may be shown several images."""
    entry = load_catalog().pipeline(name)
    part, shown = control_component(entry), control_image(entry)

    assert component == (part.name if part else None)
    assert image == (shown.name if shown else None)
    assert numbers == tuple(each.name for each in strengths(entry))
    assert modes == has_modes(entry) or component is None


def test_an_image_that_may_be_left_out_is_found_by_its_name() -> None:
    """A call may steer only where it is asked to."""
    found = control_image(load_catalog().pipeline("StableDiffusionXLControlNetUnionPipeline"))

    assert found is not None
    assert ("control_image", False) == (found.name, found.required)
