"""What a call says to the components that steer it, told from signatures."""

from __future__ import annotations

import pytest

from octabox.catalog.conditions.steering import control_picture, has_modes, steering_component, strengths
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
    name: str, component: str | None, picture: str | None, numbers: tuple[str, ...], *, modes: bool
) -> None:
    """Its picture, its numbers, and whether one component may be shown several pictures."""
    entry = load_catalog().pipeline(name)
    part, shown = steering_component(entry), control_picture(entry)

    assert component == (part.name if part else None)
    assert picture == (shown.name if shown else None)
    assert numbers == tuple(each.name for each in strengths(entry))
    assert modes == has_modes(entry) or component is None


def test_a_picture_that_may_be_left_out_is_found_by_its_name() -> None:
    """A call may steer only where it is asked to."""
    found = control_picture(load_catalog().pipeline("StableDiffusionXLControlNetUnionPipeline"))

    assert found is not None
    assert ("control_image", False) == (found.name, found.required)
