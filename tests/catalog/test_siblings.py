"""Classes that run on the same weights."""

from __future__ import annotations

import pytest

from octabox.catalog.entries import Component, Parameter, PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.siblings import siblings


@pytest.mark.parametrize(
    ("own", "others"),
    [
        ("StableDiffusionPipeline", {"StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"}),
        ("FluxPipeline", {"FluxImg2ImgPipeline", "FluxInpaintPipeline"}),
        ("ChromaPipeline", {"ChromaImg2ImgPipeline", "ChromaInpaintPipeline"}),
        ("StableDiffusionInstructPix2PixPipeline", set()),
        ("StableDiffusionDepth2ImgPipeline", set()),
        ("FluxFillPipeline", set()),
        ("WanImageToVideoPipeline", set()),
    ],
)
def test_siblings_share_weights(catalog: Catalog, own: str, others: set[str]) -> None:
    """Those that need other weights, or a part more, are no siblings."""
    assert others == {entry.name for entry in catalog.siblings(own)}


def test_no_sibling_needs_more_than_there_is(catalog: Catalog) -> None:
    """Over the whole catalog, a sibling's required components are among the model's."""
    needy = [
        (name, other.name)
        for name, entry in catalog.pipelines.items()
        for other in catalog.siblings(name)
        if not other.required_components <= {part.name for part in entry.components}
    ]

    assert [] == needy


def entry(name: str, *parameters: Parameter, parts: tuple[str, ...] = ("unet",)) -> PipelineEntry:
    """Return a class of one family."""
    components = tuple(Component(part, "Net") for part in parts)
    return PipelineEntry(name, "made.up", "made", parameters=parameters, components=components, family="up")


def test_strength_tells_that_any_weights_will_do() -> None:
    """Where no table knows a class, one that starts from a picture is a sibling, and one that was trained for it is not."""
    image = Parameter("image", kind="image", required=True)
    plain, started = entry("Plain"), entry("Started", image, Parameter("strength", kind="number"))
    trained, larger = entry("Trained", image), entry("Larger", parts=("unet", "controlnet"))
    pipelines = {each.name: each for each in (plain, started, trained, larger)}

    assert (started,) == siblings(plain, pipelines, {})
    assert () == siblings(trained, pipelines, {})


def test_a_table_is_stronger_than_likeness() -> None:
    """Classes that diffusers' tables have in different rows are no siblings, however alike they are."""
    one, other = entry("One"), entry("Other")
    pipelines = {"One": one, "Other": other}

    assert (other,) == siblings(one, pipelines, {})
    assert () == siblings(one, pipelines, {"a": {"text-to-image": "One"}, "b": {"text-to-image": "Other"}})
