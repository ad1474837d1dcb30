"""Sizes are held to what the loaded pipeline works in, and an image of another size than was asked for is told."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import makers
from octabox.catalog.entries import PipelineEntry, SizeRule
from octabox.catalog.pipelines import load_catalog
from octabox.engine.worker.inputs.sizes import check_sizes, evaluated, other_sizes
from octabox.engine.worker.outputs.items import OutputItem
from octabox.errors import InvalidParameterError, InvalidRequestError
from octabox.media.video import Video


def entry(*rules: SizeRule) -> PipelineEntry:
    """Return what the catalog would know of a pipeline with these rules."""
    return PipelineEntry("OnePipeline", "one", "one", sizes=rules)


#: A loaded pipeline as far as its sizes go.
PIPE = SimpleNamespace(
    vae_scale_factor=8,
    patch=2.0,
    transformer=SimpleNamespace(config=SimpleNamespace(patch_size=(1, 2, 2)), zero=0),
    default_sample_size=64,
)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("vae_scale_factor", 8),
        ("self.vae_scale_factor * 2", 16),
        ("transformer.config.patch_size[1] * vae_scale_factor", 16),
        ("vae_scale_factor // 3 + 1 - 1", 2),
        ("2 ** 3", 8),
        ("patch", 2),
        ("missing * 2", None),
        ("transformer.zero", None),
        ("vae_scale_factor // transformer.zero", None),
        ("transformer.config.patch_size[7]", None),
        ("vae_scale_factor / 2", None),
        ("print('called')", None),
        ("not a * formula", None),
        ("", None),
    ],
)
def test_a_multiple_is_worked_out_of_the_loaded_pipeline(expression: str, value: int | None) -> None:
    """Attributes, items and whole arithmetic are followed, nothing is called, and what has no value is None."""
    assert value == evaluated(expression, PIPE)


def test_an_odd_size_names_its_neighbours() -> None:
    """A size that is no multiple is refused, with the nearest ones as choices."""
    wanted = entry(SizeRule(("height", "width"), expression="vae_scale_factor * 2"))
    with pytest.raises(InvalidParameterError, match="multiples of 16, and 'width' is 100") as caught:
        check_sizes(PIPE, wanted, {"height": 64, "width": 100})

    assert "width" == caught.value.parameter
    assert ("96", "112") == caught.value.choices


def test_an_offset_is_taken_off_first() -> None:
    """Videos of 4 n + 1 frames: 9 is good, 10 lies between 9 and 13."""
    wanted = entry(SizeRule(("num_frames",), multiple=4, offset=1))
    check_sizes(PIPE, wanted, {"num_frames": 9})
    with pytest.raises(InvalidParameterError, match="multiples of 4, plus 1") as caught:
        check_sizes(PIPE, wanted, {"num_frames": 10})

    assert ("9", "13") == caught.value.choices


def test_no_size_of_nothing_is_offered() -> None:
    """Below the smallest multiple there is no good size but that."""
    with pytest.raises(InvalidParameterError) as caught:
        check_sizes(PIPE, entry(SizeRule(("height",), multiple=8)), {"height": 3})

    assert ("8",) == caught.value.choices


def test_two_odd_sizes_are_told_together() -> None:
    """Both sizes are named at once."""
    with pytest.raises(InvalidRequestError) as caught:
        check_sizes(PIPE, entry(SizeRule(("height", "width"), multiple=8)), {"height": 3, "width": 5})

    assert ["height", "width"] == [problem.parameter for problem in caught.value.problems]


@pytest.mark.parametrize("params", [{}, {"height": None}, {"height": 64}])
def test_sizes_that_are_good_or_not_given_pass(params: dict[str, Any]) -> None:
    """A size that is left out is the pipeline's own affair."""
    check_sizes(PIPE, entry(SizeRule(("height",), multiple=8)), params)


def test_a_rule_without_a_value_holds_for_nothing() -> None:
    """Where the multiple cannot be worked out, the pipeline decides by itself."""
    check_sizes(PIPE, entry(SizeRule(("height",), expression="missing")), {"height": 3})


def test_a_real_pipelines_own_multiple() -> None:
    """The rule that the catalog reads from a class is worked out of its object."""
    name = "StableDiffusionPipeline"
    pipe = makers.pipelines()[name].make()
    with pytest.raises(InvalidParameterError, match="'height' is 33"):
        check_sizes(pipe, load_catalog().pipeline(name), {"height": 33})


def image(width: int, height: int) -> OutputItem:
    """Return an image that a call made."""
    return OutputItem("images", "image", Image.new("RGB", (width, height)))


def test_another_size_than_asked_for_is_told() -> None:
    """An image or a video of another size is a sentence; one of the size that was asked for is none."""
    asked = {"width": 32, "height": 48}
    clip = OutputItem("frames", "video", Video((Image.new("RGB", (64, 64)),)))

    assert [] == other_sizes(asked, [image(32, 48)], PIPE, entry())
    assert ["32x48 was asked for, and the pipeline made 64x64."] == other_sizes(asked, [image(64, 64)], PIPE, entry())
    assert ["32x48 was asked for, and the pipeline made 64x64."] == other_sizes(asked, [clip], PIPE, entry())


def test_another_size_than_the_models_own_is_told() -> None:
    """Where sizes are binned and none was asked for, the model's own is expected: its samples' times the scale of its VAE."""
    binned = replace(entry(), binning=True)
    told = other_sizes({}, [image(64, 64)], PIPE, binned)

    assert ["512x512 is the model's own size, and the pipeline made 64x64."] == told
    assert [] == other_sizes({}, [image(512, 512)], PIPE, binned)
    assert [] == other_sizes({}, [image(64, 64)], SimpleNamespace(), binned)
    assert [] == other_sizes({}, [image(64, 64)], PIPE, entry())


def test_what_has_no_size_tells_nothing() -> None:
    """Words and numbers are of no size; the first thing that has one counts."""
    words, numbers = OutputItem("text", "text", "a cat"), OutputItem("maps", "array", {"maps": np.zeros(3)})

    assert [] == other_sizes({"width": 32, "height": 32}, [words, numbers], PIPE, entry())
    assert 1 == len(other_sizes({"width": 32, "height": 32}, [words, image(64, 64)], PIPE, entry()))
