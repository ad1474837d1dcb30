"""The sizes of a workflow's images, before and after its parts."""

from __future__ import annotations

from typing import Any

import pytest

from octabox import demo
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call, Run
from octabox.errors import InvalidParameterError
from octabox.media.regions import Size
from octabox.service.workflows.settings import HiresPart, UpscalePart
from octabox.service.workflows.sizes import TargetSizes, first_size, latent_factor, latent_scales, reduced

MODEL = ModelConfig(name="demo", model=str(demo.FOLDER))
ENTRY = load_catalog().pipeline("StableDiffusionPipeline")

#: A model whose files are not on this machine.
ELSEWHERE = ModelConfig(name="other", model="someone/else")


def call(model: ModelConfig = MODEL, **params: Any) -> Call:
    """Return a call with these parameters."""
    return Call("a", model, ENTRY.name, ENTRY.name, "text-to-image", (Run(params, seed=1),))


def hires(**settings: Any) -> HiresPart:
    """Return the settings of a second pass."""
    return HiresPart.model_validate(settings)


@pytest.mark.parametrize(
    ("first", "has_files", "expected"),
    [
        (call(width=256, height=64), True, (256, 64)),
        (call(), False, (128, 128)),
        (call(), True, None),
        (call(width=256), False, None),
        (call(ELSEWHERE), False, None),
    ],
)
def test_the_size_of_a_first_image(first: Call, has_files: bool, expected: Size | None) -> None:
    """It is that of the request, or the default of the model; an input image has another one."""
    assert expected == first_size(first, ENTRY, has_files=has_files)


def test_the_pixels_of_latents() -> None:
    """The model states them; those of one that is elsewhere are the usual ones."""
    assert [8, 8] == [latent_factor(ENTRY, each) for each in (MODEL, ELSEWHERE)]
    assert (1.0, 2.0) == latent_scales(hires(width=64, height=128), call(width=64, height=64))
    assert (2.0, 2.0) == latent_scales(hires(), call())


@pytest.mark.parametrize(
    ("settings", "size", "expected"),
    [
        (hires(scale=1.5), (100, 40), (152, 64)),
        (hires(width=200), (100, 50), (200, 96)),
        (hires(height=64), (128, 128), (64, 64)),
        (hires(scale=0.001), (100, 40), (8, 8)),
        (UpscalePart.model_validate({"width": 30, "height": 70}), (100, 40), (32, 72)),
    ],
)
def test_a_target_has_the_multiple_that_pipelines_require(
    settings: HiresPart | UpscalePart, size: Size, expected: Size
) -> None:
    """The nearest one, and one at least; a side that is not given keeps the shape."""
    assert expected == TargetSizes(settings, "hires", 10**6).target(size, 8)


def test_limits() -> None:
    """An image has its side of one element of latents, and no more pixels than are allowed; what is unknown passes."""
    targets = TargetSizes(hires(scale=4), "hires", 64 * 64)
    targets.check(None)
    targets.check((2, 16))
    targets.check_latents((1, 4, 2, 2), (4.0, 4.0), 8)
    with pytest.raises(InvalidParameterError, match="4x64 is too small"):
        targets.check((1, 16))
    with pytest.raises(InvalidParameterError, match="68x64 exceeds"):
        targets.check((17, 16))
    with pytest.raises(InvalidParameterError, match="96x64 exceeds") as caught:
        targets.check_latents((1, 4, 2, 3), (4.0, 4.0), 8)
    assert "workflow.hires.scale" == caught.value.parameter


@pytest.mark.parametrize(
    ("size", "expected"), [((1024, 256), (64, 16)), ((32, 16), (32, 16)), ((5000, 1), (64, 1)), ((64, 128), (32, 64))]
)
def test_a_reduced_size_keeps_the_shape(size: Size, expected: Size) -> None:
    """A smaller one is left as it is."""
    assert expected == reduced(size, 64)
