"""Classes that run on the same weights."""

from __future__ import annotations

from dataclasses import replace

import pytest

from octabox.catalog.entries import Component, Parameter, PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.siblings import find_siblings


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
    """Where no table knows a class, one that starts from an image is a sibling, and one that was trained for it is not."""
    image = Parameter("image", kind="image", required=True)
    plain, started = entry("Plain"), entry("Started", image, Parameter("strength", kind="number"))
    trained, larger = entry("Trained", image), entry("Larger", parts=("unet", "controlnet"))
    pipelines = {each.name: each for each in (plain, started, trained, larger)}

    assert (started,) == find_siblings(plain, pipelines, {})
    assert () == find_siblings(trained, pipelines, {})


def test_a_table_is_stronger_than_likeness() -> None:
    """Classes that diffusers' tables have in different rows are no siblings, however alike they are."""
    one, other = entry("One"), entry("Other")
    pipelines = {"One": one, "Other": other}

    assert (other,) == find_siblings(one, pipelines, {})
    assert () == find_siblings(one, pipelines, {"a": {"text-to-image": "One"}, "b": {"text-to-image": "Other"}})


CONTROLNET = frozenset({"controlnet"})


@pytest.mark.parametrize(
    ("own", "opened", "closed"),
    [
        ("StableDiffusionPipeline", "StableDiffusionControlNetPipeline", "StableDiffusionXLControlNetPipeline"),
        ("StableDiffusionPipeline", "StableDiffusionControlNetInpaintPipeline", "AnimateDiffSparseControlNetPipeline"),
        ("StableDiffusionXLPipeline", "StableDiffusionXLControlNetPipeline", "StableDiffusionControlNetPipeline"),
        ("FluxPipeline", "FluxControlNetPipeline", "FluxControlPipeline"),
        ("StableDiffusion3Pipeline", "StableDiffusion3ControlNetPipeline", "SanaControlNetPipeline"),
        ("QwenImagePipeline", "QwenImageControlNetInpaintPipeline", "ZImageControlNetPipeline"),
        ("AnimateDiffPipeline", "AnimateDiffVideoToVideoControlNetPipeline", "StableDiffusionControlNetPipeline"),
    ],
)
def test_an_extra_component_opens_classes(catalog: Catalog, own: str, opened: str, closed: str) -> None:
    """A ControlNet beside a model opens the classes that need one on the same parts, and no others."""
    before = {entry.name for entry in catalog.siblings(own)}
    after = {entry.name for entry in catalog.siblings(own, CONTROLNET)}

    assert opened in after - before
    assert closed not in after
    assert before <= after


def test_a_component_that_no_class_needs_opens_nothing(catalog: Catalog) -> None:
    """A part of an unknown name changes nothing."""
    name = "StableDiffusionPipeline"

    assert catalog.siblings(name) == catalog.siblings(name, frozenset({"gearbox"}))


def test_opened_classes_find_all_their_parts(catalog: Catalog) -> None:
    """Over the whole catalog, what an extra component opens needs nothing else that is not there."""
    needy = [
        (name, other.name)
        for name, own in catalog.pipelines.items()
        for other in catalog.siblings(name, CONTROLNET)
        if not other.required_components <= {"controlnet", *(part.name for part in own.components)}
    ]

    assert [] == needy


@pytest.mark.parametrize(
    ("other", "extra", "is_opened"),
    [
        (("unet", "controlnet"), {"controlnet"}, True),
        (("unet", "controlnet"), {"adapter"}, False),
        (("unet", "controlnet", "adapter"), {"controlnet"}, False),
        (("controlnet",), {"controlnet"}, False),
        (("unet",), {"controlnet"}, True),
    ],
)
def test_all_parts_are_accounted_for(other: tuple[str, ...], extra: set[str], *, is_opened: bool) -> None:
    """A class is opened where it needs the extra part, has all of the model's parts, and needs no third."""
    own, made = entry("Own"), entry("Other", parts=other)
    found = find_siblings(own, {"Own": own, "Other": made}, {}, frozenset(extra))

    assert is_opened == bool(found)


def test_parts_of_other_classes_open_nothing() -> None:
    """The parts that both have must be able to be the same thing."""
    own = entry("Own")
    other = replace(
        entry("Other", parts=("unet", "controlnet")),
        components=(Component("unet", "Transformer"), Component("controlnet", "Net")),
    )

    assert () == find_siblings(own, {"Own": own, "Other": other}, {}, CONTROLNET)
