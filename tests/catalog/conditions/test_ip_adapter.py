"""Which calls take images as prompts, and the parameter that we add to them."""

from __future__ import annotations

import pytest

from octabox.catalog.conditions.ip_adapter import (
    SCALE_PARAMETER,
    add_scale_parameter,
    ip_adapter_inputs,
    takes_ip_adapter,
)
from octabox.catalog.pipelines import load_catalog
from octabox.catalog.signature import json_schema


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("StableDiffusionPipeline", True),
        ("StableDiffusionXLControlNetPipeline", True),
        ("FluxPipeline", True),
        ("StableDiffusion3Pipeline", True),
        ("StableDiffusionAdapterPipeline", False),
        ("MarigoldDepthPipeline", False),
    ],
)
def test_the_signature_tells(name: str, *, takes: bool) -> None:
    """A class that has the parameter takes images as prompts."""
    assert takes == takes_ip_adapter(load_catalog().pipeline(name))


def test_the_strength_is_a_parameter_of_models_that_have_some() -> None:
    """With its default; other models and other classes keep theirs."""
    entry = load_catalog().pipeline("StableDiffusionPipeline")

    assert entry is add_scale_parameter(entry, ())
    other = load_catalog().pipeline("StableDiffusionAdapterPipeline")
    assert other is add_scale_parameter(other, (1.0,))
    for scales, default in (((0.5,), 0.5), ((0.5, 0.5), 0.5), ((0.5, 1.0), [0.5, 1.0])):
        told = json_schema(add_scale_parameter(entry, scales))["properties"][SCALE_PARAMETER]
        assert default == told["default"]
        assert {"number", "array"} == {each["type"] for each in told["anyOf"]}


def test_names_of_what_is_for_them() -> None:
    """Images, negative ones and what another model has made of them; not their strength."""
    names = [
        "prompt",
        "image",
        "ip_adapter_image",
        "negative_ip_adapter_image",
        "ip_adapter_image_embeds",
        SCALE_PARAMETER,
    ]

    assert names[2:5] == ip_adapter_inputs(names)
