"""Control inputs of pipeline calls, by their signatures."""

from __future__ import annotations

import pytest

from octabox.catalog.conditions.control import ControlInputs, control_inputs
from octabox.catalog.pipelines import load_catalog

SPAN = ("control_guidance_start", "control_guidance_end")


@pytest.mark.parametrize(
    ("name", "component", "image", "numbers", "modes"),
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
def test_control_inputs_of_a_class(
    name: str, component: str | None, image: str | None, numbers: tuple[str, ...], *, modes: bool
) -> None:
    """The component, its image, its numbers, and whether one component takes several images."""
    found = control_inputs(load_catalog().pipeline(name))

    assert component == (found.component.name if found.component else None)
    assert image == (found.image.name if found.image else None)
    assert numbers == tuple(each.name for each in found.scales)
    assert modes == found.modes


def test_an_optional_control_image_is_found_by_its_name() -> None:
    """A call may leave the control image out."""
    found = control_inputs(load_catalog().pipeline("StableDiffusionXLControlNetUnionPipeline")).image

    assert found is not None
    assert ("control_image", False) == (found.name, found.required)


def test_a_pipeline_without_control_component_has_no_control_inputs() -> None:
    """Its numbers and lists of numbers are for other things."""
    assert ControlInputs() == control_inputs(load_catalog().pipeline("StableDiffusionXLPipeline"))
