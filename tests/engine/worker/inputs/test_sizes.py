"""Sizes are checked against the multiples of a pipeline, and images of another size give a warning."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

import makers
from octabox.catalog.entries import Parameter, PipelineEntry, SizeRule
from octabox.catalog.pipelines import load_catalog
from octabox.engine.worker.inputs.sizes import (
    check_sizes,
    complete_size,
    evaluate_expression,
    frame_warnings,
    restore_size,
    size_of_image,
    size_warnings,
)
from octabox.engine.worker.outputs.items import OutputItem
from octabox.errors import InvalidParameterError, InvalidRequestError
from octabox.media.video import Video


def entry(*rules: SizeRule) -> PipelineEntry:
    """Return a catalog entry with these rules."""
    return PipelineEntry("OnePipeline", "one", "one", sizes=rules)


#: The attributes of a pipeline that determine its sizes.
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
def test_expressions(expression: str, value: int | None) -> None:
    """Attributes, items and integer arithmetic are supported, calls are not, and an expression without a value is None."""
    assert value == evaluate_expression(expression, PIPE)


def test_invalid_sizes() -> None:
    """A size that is not a multiple is rejected, with the nearest ones as choices."""
    known = entry(SizeRule(("height", "width"), expression="vae_scale_factor * 2"))
    with pytest.raises(
        InvalidParameterError, match="'width' must be a multiple of 16 for OnePipeline, not 100"
    ) as caught:
        check_sizes(PIPE, known, {"height": 64, "width": 100})

    assert "width" == caught.value.parameter
    assert ("96", "112") == caught.value.choices


def test_offsets() -> None:
    """A video has 4 n + 1 frames: 9 is valid, 10 is between 9 and 13."""
    known = entry(SizeRule(("num_frames",), multiple=4, offset=1))
    check_sizes(PIPE, known, {"num_frames": 9})
    with pytest.raises(
        InvalidParameterError, match="'num_frames' must be a multiple of 4, plus 1 for OnePipeline, not 10"
    ) as caught:
        check_sizes(PIPE, known, {"num_frames": 10})

    assert ("9", "13") == caught.value.choices


def test_sizes_below_the_smallest() -> None:
    """Below the smallest multiple that is the only choice."""
    with pytest.raises(InvalidParameterError) as caught:
        check_sizes(PIPE, entry(SizeRule(("height",), multiple=8)), {"height": 3})

    assert ("8",) == caught.value.choices


def test_two_invalid_sizes() -> None:
    """Both sizes are in one error."""
    with pytest.raises(InvalidRequestError) as caught:
        check_sizes(PIPE, entry(SizeRule(("height", "width"), multiple=8)), {"height": 3, "width": 5})

    assert ["height", "width"] == [problem.parameter for problem in caught.value.problems]


@pytest.mark.parametrize("params", [{}, {"height": None}, {"height": 64}])
def test_valid_sizes(params: dict[str, Any]) -> None:
    """Multiples and sizes that are not set are accepted."""
    check_sizes(PIPE, entry(SizeRule(("height",), multiple=8)), params)


def test_rules_that_only_warn() -> None:
    """A size that the class rounds, or only warns of, is the pipeline's to handle."""
    check_sizes(PIPE, entry(SizeRule(("height",), multiple=8, rounded=True)), {"height": 3})


#: A pipeline that repaints an image, at the size of a call or at its default size.
PAINTER = PipelineEntry(
    "OnePipeline",
    "one",
    "one",
    parameters=(
        Parameter("image", "", "image"),
        Parameter("mask_image", "", "mask"),
        Parameter("width", "int | None", "integer"),
        Parameter("height", "int | None", "integer"),
        Parameter("padding_mask_crop", "int | None", "integer"),
    ),
    sizes=(SizeRule(("height", "width"), expression="vae_scale_factor * 2"),),
)
WIDE = {"image": (Image.new("RGB", (197, 130)),)}


@pytest.mark.parametrize(
    ("known", "params", "expected"),
    [
        (PAINTER, {}, {"width": 192, "height": 128}),
        (PAINTER, {"width": 64}, {}),
        (PAINTER, {"padding_mask_crop": 8}, {}),
        (replace(PAINTER, parameters=PAINTER.parameters[:1] + PAINTER.parameters[2:]), {}, {}),
        (replace(PAINTER, parameters=PAINTER.parameters[:2]), {}, {}),
        (replace(PAINTER, sizes=()), {}, {}),
    ],
)
def test_the_size_of_the_image(known: PipelineEntry, params: dict[str, Any], expected: dict[str, int]) -> None:
    """Pipelines that change an image work at its size, unless the call has another or works on a part."""
    assert expected == size_of_image(PIPE, known, params, WIDE)


@pytest.mark.parametrize(
    ("params", "made", "expected"),
    [
        ({}, (192, 128), (197, 130)),
        ({}, (197, 130), (197, 130)),
        ({}, (64, 64), (64, 64)),
        ({}, (200, 128), (200, 128)),
        ({"width": 192, "height": 128}, (192, 128), (192, 128)),
    ],
)
def test_a_rounded_image_is_restored(params: dict[str, Any], made: tuple[int, int], expected: tuple[int, int]) -> None:
    """An output that has the size of the image but for the multiple of the pipeline gets that size, with a warning."""
    items, warnings = restore_size(
        {**params, **WIDE}, [OutputItem("images", "image", Image.new("RGB", made))], PIPE, PAINTER
    )

    assert isinstance(items[0].value, Image.Image)
    assert expected == items[0].value.size
    assert (made != expected) == bool(warnings)


def test_rules_without_a_value() -> None:
    """A rule whose multiple cannot be evaluated is ignored."""
    check_sizes(PIPE, entry(SizeRule(("height",), expression="missing")), {"height": 3})


def test_the_multiple_of_a_pipeline() -> None:
    """The rule of the catalog is evaluated for a pipeline."""
    name = "StableDiffusionPipeline"
    pipe = makers.pipelines()[name].make()
    with pytest.raises(InvalidParameterError, match=r"'height' must be a multiple of 8 .* not 33"):
        check_sizes(pipe, load_catalog().pipeline(name), {"height": 33})


def image(width: int, height: int) -> OutputItem:
    """Return an image output."""
    return OutputItem("images", "image", Image.new("RGB", (width, height)))


def test_another_size_than_requested() -> None:
    """An image or a video of another size gives a warning; one of the requested size does not."""
    requested = {"width": 32, "height": 48}
    video = OutputItem("frames", "video", Video((Image.new("RGB", (64, 64)),)))

    assert [] == size_warnings(requested, [image(32, 48)], PIPE, entry())
    assert ["32x48 was requested, and the pipeline made 64x64."] == size_warnings(
        requested, [image(64, 64)], PIPE, entry()
    )
    assert ["32x48 was requested, and the pipeline made 64x64."] == size_warnings(requested, [video], PIPE, entry())


def test_another_size_than_the_default() -> None:
    """With binned sizes the default is the sample size times the scale of the VAE."""
    binned = replace(entry(), binning=True)
    warnings = size_warnings({}, [image(64, 64)], PIPE, binned)

    assert ["512x512 is the model's default size, and the pipeline made 64x64."] == warnings
    assert [] == size_warnings({}, [image(512, 512)], PIPE, binned)
    assert [] == size_warnings({}, [image(64, 64)], SimpleNamespace(), binned)
    assert [] == size_warnings({}, [image(64, 64)], PIPE, entry())


def test_outputs_without_a_size() -> None:
    """Texts and arrays have no size; the first output that has one is compared."""
    text, array = OutputItem("text", "text", "a cat"), OutputItem("maps", "array", {"maps": np.zeros(3)})

    assert [] == size_warnings({"width": 32, "height": 32}, [text, array], PIPE, entry())
    assert 1 == len(size_warnings({"width": 32, "height": 32}, [text, image(64, 64)], PIPE, entry()))


def sized(*names: str, default: int | None = None) -> PipelineEntry:
    """Return a catalog entry with these parameters, whose sides are multiples of 8."""
    parameters = tuple(Parameter(name, "int", default=default, literal=True) for name in names)
    return replace(entry(SizeRule(("height", "width"), multiple=8)), parameters=parameters)


SIDES = ("width", "height")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"width": 256}, (256, 512)),
        ({"height": 256}, (512, 256)),
        ({"width": 256, "height": None}, (256, 512)),
        ({"width": 64, "image": Image.new("RGB", (128, 256))}, (64, 128)),
        ({"height": 64, "image": [Image.new("RGB", (130, 100))]}, (80, 64)),
        ({"width": 64, "image": [Image.new("RGB", (1000, 8))]}, (64, 8)),
        ({"width": 64, "height": 32}, (64, 32)),
        ({}, (None, None)),
    ],
)
def test_the_other_side(params: dict[str, Any], expected: tuple[int | None, int | None]) -> None:
    """One side of a size is kept, and the other follows the image or else the model's default size."""
    found = complete_size(PIPE, sized(*SIDES), params, params)

    assert expected == (found.get("width"), found.get("height"))


@pytest.mark.parametrize(
    ("pipe", "known"),
    [
        (PIPE, sized("width")),
        (PIPE, sized(*SIDES, default=480)),
        (SimpleNamespace(), sized(*SIDES)),
    ],
    ids=["one side", "another default", "no default"],
)
def test_no_other_side(pipe: Any, known: PipelineEntry) -> None:
    """Where it is not known which side is missing, the call is not changed, and its output is compared."""
    assert {"width": 256} == complete_size(pipe, known, {"width": 256}, {})
    assert ["'width' 256 was requested, and the pipeline made 64x64."] == size_warnings(
        {"width": 256}, [image(64, 64)], pipe, known
    )
    assert [] == size_warnings({"height": 64}, [image(32, 64)], pipe, known)


@pytest.mark.parametrize(
    ("names", "size", "made", "warns"),
    [
        ((), (131, 127), (128, 120), True),
        ((), (128, 128), (512, 512), False),
        ((), (40, 24), (80, 48), False),
        (("strength",), (192, 128), (64, 64), True),
        (("mask_image",), (192, 128), (64, 64), True),
        ((), (128, 128), (128, 128), False),
    ],
)
def test_another_size_than_the_image(
    names: tuple[str, ...], size: tuple[int, int], made: tuple[int, int], *, warns: bool
) -> None:
    """An image that was rounded is told, and any other size where the pipeline changes the image itself."""
    warnings = size_warnings({"image": Image.new("RGB", size)}, [image(*made)], SimpleNamespace(), sized(*names))

    assert (
        [f"The image is {size[0]}x{size[1]}, and the pipeline made {made[0]}x{made[1]}."] if warns else []
    ) == warnings


def test_another_number_of_frames() -> None:
    """A video of other than the requested frames gives a warning."""
    video = OutputItem("frames", "video", Video((Image.new("RGB", (8, 8)),) * 5))
    chunk = Parameter("num_frames_per_chunk", kind="integer", description="Number of frames.")
    known = replace(entry(), parameters=(chunk, Parameter("num_frames", kind="integer")))
    length = Parameter("video_length", kind="integer", description="The number of generated video frames.")

    assert ["6 frames were requested, and the pipeline made 5."] == frame_warnings({"num_frames": 6}, [video], known)
    assert [] == frame_warnings({"num_frames": 5}, [video], known)
    assert [] == frame_warnings({}, [video], known)
    assert [] == frame_warnings({"num_frames": 6}, [image(8, 8)], known)
    assert [] == frame_warnings({"num_frames": 6}, [video], entry())
    assert frame_warnings({"video_length": 6}, [video], replace(entry(), parameters=(length,)))


@pytest.mark.parametrize(
    ("names", "given", "warns"),
    [(("strength",), 6, True), (("strength",), 5, False), (("strength",), 1, False), ((), 6, False)],
)
def test_another_number_of_frames_than_the_video(names: tuple[str, ...], given: int, *, warns: bool) -> None:
    """A pipeline that changes a video makes all its frames, or the answer says how many; an image has no length."""
    made, sent = (Video((Image.new("RGB", (8, 8)),) * count) for count in (5, given))

    warnings = frame_warnings({"video": (sent,)}, [OutputItem("frames", "video", made)], sized(*names))

    assert (["The video has 6 frames, and the pipeline made 5."] if warns else []) == warnings


@pytest.mark.parametrize(("factor", "expected"), [(16, (205, 141)), (8, (192, 128))])
def test_a_multiple_of_an_image_processor(factor: int, expected: tuple[int, int]) -> None:
    """It rounds images, whatever the factor of the VAE is; other sizes are those of the pipeline."""
    pipe = SimpleNamespace(vae_scale_factor=8, image_processor=VaeImageProcessor(vae_scale_factor=factor))

    inputs = {"image": Image.new("RGB", (205, 141))}

    items, _ = restore_size(inputs, [image(192, 128)], pipe, entry())

    assert isinstance(items[0].value, Image.Image)
    assert expected == items[0].value.size
