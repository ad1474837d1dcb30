"""What a form needs of a schema: bounds, multiples, default sizes and controls."""

from __future__ import annotations

from typing import Any

import pytest

from octabox import demo
from octabox.catalog.pipelines import Catalog
from octabox.catalog.signature import json_schema
from octabox.config.model import ModelConfig
from octabox.service.bounds import Limits
from octabox.service.forms.hints import KEYWORD, add_form_hints
from octabox.service.forms.model_sizes import ModelSizes


def properties(catalog: Catalog, name: str, model: ModelConfig | None = None) -> dict[str, Any]:
    """Return the properties of a pipeline's schema."""
    entry = catalog.pipeline(name)
    found: dict[str, Any] = add_form_hints(json_schema(entry), entry, ModelSizes(entry, model), Limits())["properties"]
    return found


def test_a_model_has_its_own_sizes(catalog: Catalog) -> None:
    """The default size and the multiple of the embedded model follow from the configurations of its components."""
    found = properties(catalog, "StableDiffusionPipeline", ModelConfig(name="demo", model=str(demo.FOLDER)))

    assert ([128], 8, 8) == tuple(found["width"][key] for key in ("examples", "multipleOf", "minimum"))
    assert "size" == found["width"][KEYWORD]["control"]


@pytest.mark.parametrize(
    ("pipeline", "parameter", "expected"),
    [
        ("StableDiffusionImg2ImgPipeline", "strength", {"minimum": 0, "maximum": 1}),
        ("StableDiffusionPipeline", "num_inference_steps", {"minimum": 1, "maximum": 1000}),
        ("FluxPipeline", "max_sequence_length", {"maximum": 512}),
        ("MarigoldDepthPipeline", "ensemble_size", {"minimum": 1}),
        ("StableDiffusionXLPipeline", "width", {"minimum": 8, "multipleOf": 8}),
        ("StableDiffusionPipeline", "guidance_scale", {}),
    ],
)
def test_bounds_are_those_of_the_class(
    catalog: Catalog, pipeline: str, parameter: str, expected: dict[str, Any]
) -> None:
    """The checks of a class, its description, and the limits of a request bound a number."""
    found = properties(catalog, pipeline)[parameter]

    assert expected == {
        key: found[key] for key in ("minimum", "maximum", "exclusiveMinimum", "multipleOf") if key in found
    }


@pytest.mark.parametrize(
    ("pipeline", "parameter", "group", "control", "advanced"),
    [
        ("StableDiffusionPipeline", "prompt", "prompt", "prompt", False),
        ("StableDiffusionXLPipeline", "prompt_2", "prompt", "prompt", True),
        ("StableDiffusionInpaintPipeline", "mask_image", "media", "mask", False),
        ("StableDiffusionPipeline", "ip_adapter_image", "media", "image", True),
        ("StableDiffusionPipeline", "latents", "other", "array", True),
        ("StableDiffusionPipeline", "timesteps", "other", "json", True),
        ("StableDiffusionImg2ImgPipeline", "strength", "sampling", "slider", False),
        ("WanPipeline", "num_frames", "size", "slider", False),
    ],
)
def test_controls_follow_from_the_parameters(
    catalog: Catalog, pipeline: str, parameter: str, group: str, control: str, advanced: bool
) -> None:
    """The kind, the name and the bounds of a parameter choose its control and its group."""
    hints = properties(catalog, pipeline)[parameter][KEYWORD]

    assert (group, control, advanced) == (hints["group"], hints["control"], hints["advanced"])


def test_the_number_of_outputs_is_that_of_the_request(catalog: Catalog) -> None:
    """A form needs no second control for it."""
    hints = properties(catalog, "StableDiffusionPipeline")["num_images_per_prompt"][KEYWORD]

    assert "num_outputs" == hints["same_as"]
