"""Whether a pipeline's outputs can be written as they are wanted."""

from __future__ import annotations

import pytest

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import load_catalog
from octabox.errors import InvalidParameterError
from octabox.service.outputs import first_output, output_arguments, output_kinds
from octabox.types import Artifact, Kind, OutputFormat


def entry(name: str) -> PipelineEntry:
    """Return a class of the catalog."""
    return load_catalog().pipeline(name)


def test_the_first_output() -> None:
    """What a response with one output leaves out is a warning; other media types are none."""
    image, sound = Artifact("image", "image/png", b"a"), Artifact("audio", "audio/wav", b"b")

    assert (sound, ()) == first_output([image, sound], "audio")
    assert (image, ("The response has the first of 3 outputs.",)) == first_output([image, sound, image, image], "image")
    assert (None, ()) == first_output([image], "video")


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("StableDiffusionPipeline", ("image", "array")),
        ("LTX2Pipeline", ("video", "audio", "array")),
        ("StableAudioPipeline", ("audio", "array")),
        ("UniDiffuserPipeline", ("image", "text", "array")),
        ("MarigoldDepthPipeline", ("array", "image")),
        ("ShapEPipeline", ("image", "mesh", "array")),
    ],
)
def test_kinds_follow_from_the_output(name: str, kinds: tuple[Kind, ...]) -> None:
    """The chief kind stands first; numbers can be had of everything, and numbers can be shown as images."""
    assert kinds == output_kinds(entry(name))


@pytest.mark.parametrize(
    ("name", "wanted", "arguments"),
    [
        ("StableDiffusionPipeline", None, {}),
        ("StableDiffusionPipeline", "png", {}),
        ("StableDiffusionPipeline", "JPG", {}),
        ("StableDiffusionPipeline", "npz", {"output_type": "np"}),
        ("LTX2Pipeline", "mp4", {}),
        ("LTX2Pipeline", "gif", {}),
        ("LTX2Pipeline", "png", {}),
        ("LTX2Pipeline", "flac", {}),
        ("LTX2Pipeline", "npy", {"output_type": "np"}),
        ("StableAudioPipeline", "mp3", {}),
        ("DanceDiffusionPipeline", "npz", {}),
        ("UniDiffuserPipeline", "txt", {}),
        ("MarigoldDepthPipeline", "npz", {}),
        ("MarigoldDepthPipeline", "png", {}),
        ("ShapEPipeline", "png", {}),
        ("ShapEPipeline", "glb", {"output_type": "mesh"}),
        ("ShapEPipeline", "obj", {"output_type": "mesh"}),
    ],
)
def test_a_format_may_need_another_form_of_the_result(name: str, wanted: str | None, arguments: dict[str, str]) -> None:
    """The call is told only where the pipeline hands its result over in several forms."""
    assert arguments == output_arguments(OutputFormat(wanted), entry(name))


@pytest.mark.parametrize(
    ("name", "wanted", "known", "unknown"),
    [
        ("StableDiffusionPipeline", "mp4", ("png", "npz"), "wav"),
        ("StableDiffusionPipeline", "gif9", ("png", "npz"), "glb"),
        ("LTX2Pipeline", "glb", ("mp4", "wav", "png"), "txt"),
        ("StableAudioPipeline", "png", ("wav", "npz"), "mp4"),
        ("UniDiffuserPipeline", "mp3", ("png", "txt"), "wav"),
        ("ShapEPipeline", "mp4", ("glb", "png"), "wav"),
    ],
)
def test_a_format_that_nothing_can_be_written_in_is_refused(
    name: str, wanted: str, known: tuple[str, ...], unknown: str
) -> None:
    """The error offers the formats of all that the pipeline makes, and no others."""
    with pytest.raises(InvalidParameterError) as caught:
        output_arguments(OutputFormat(wanted), entry(name))

    assert "output_format" == caught.value.parameter
    assert set(known) <= set(caught.value.choices)
    assert unknown not in caught.value.choices
    assert all(each in caught.value.hint for each in known)


@pytest.mark.parametrize("name", ["StableDiffusionPipeline", "LTX2Pipeline", "MarigoldDepthPipeline"])
@pytest.mark.parametrize(
    ("output", "parameter"),
    [
        (OutputFormat(quality=101), "output_compression"),
        (OutputFormat(quality=-1), "output_compression"),
        (OutputFormat(fps=0.0), "fps"),
        (OutputFormat(fps=1000.0), "fps"),
        (OutputFormat(fps=float("nan")), "fps"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, output: OutputFormat, parameter: str) -> None:
    """Quality and frame rate are checked before the work begins; no other format would help."""
    with pytest.raises(InvalidParameterError) as caught:
        output_arguments(output, entry(name))

    assert parameter == caught.value.parameter
    assert "one of" not in caught.value.hint


def test_every_pipeline_makes_something_that_can_be_written() -> None:
    """Over the whole catalog, the usual format needs at most images in place of latents, and numbers can be had."""
    for each in load_catalog().pipelines.values():
        assert output_arguments(OutputFormat(), each) in ({}, {"output_type": "pil"}), each.name
        assert set(output_arguments(OutputFormat("npz"), each).values()) <= {"np"}, each.name
