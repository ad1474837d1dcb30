"""The formats that artifacts are written in."""

from typing import get_args

import pytest

from octabox.errors import InvalidParameterError
from octabox.media.formats import (
    DEFAULTS,
    FORMATS,
    check_output_format,
    format_of_suffix,
    media_type_of,
    select_format,
    suffix_of,
)
from octabox.types import Kind, OutputFormat

KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_usual_format(kind: Kind) -> None:
    """Whatever a pipeline makes can be written, and its usual format can hold it."""
    check_output_format(OutputFormat(), kind)

    assert select_format(kind, OutputFormat()) == DEFAULTS[kind]
    assert kind in FORMATS[DEFAULTS[kind]].kinds


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_can_be_had(name: str) -> None:
    """A format is written for each kind that it holds, and its files' names and media types lead back to it."""
    for kind in FORMATS[name].kinds:
        check_output_format(OutputFormat(name.upper()), kind)
        assert name == select_format(kind, OutputFormat(name))
    assert FORMATS[name].suffix == suffix_of(media_type_of(name))
    assert name == format_of_suffix(FORMATS[name].suffix)


@pytest.mark.parametrize(
    ("kind", "wished", "written"),
    [("image", "jpg", "jpeg"), ("image", "mp4", "png"), ("audio", "mp4", "wav"), ("text", "bmp", "txt")],
)
def test_what_a_format_cannot_hold(kind: Kind, wished: str, written: str) -> None:
    """What comes beside the chief output is written in its own usual format."""
    assert written == select_format(kind, OutputFormat(wished))


@pytest.mark.parametrize(("kind", "wished"), [("image", "gif"), ("image", "mp4"), ("video", "wav"), ("audio", "xyz")])
def test_a_format_that_cannot_be_written(kind: Kind, wished: str) -> None:
    """The error names the format and all that could be had for the kind."""
    with pytest.raises(InvalidParameterError, match=f"'{wished}'") as caught:
        check_output_format(OutputFormat(wished), kind)

    assert "output_format" == caught.value.parameter
    assert tuple(name for name in FORMATS if kind in FORMATS[name].kinds) == caught.value.choices


def test_formats_of_images() -> None:
    """Images have the formats that OpenAI's API knows."""
    with pytest.raises(InvalidParameterError) as caught:
        check_output_format(OutputFormat("gif"), "image")

    assert ("png", "jpeg", "webp") == caught.value.choices


@pytest.mark.parametrize("quality", [-1, 101])
def test_a_quality_out_of_range(quality: int) -> None:
    """The quality is a percentage."""
    with pytest.raises(InvalidParameterError, match="0 to 100") as caught:
        check_output_format(OutputFormat("jpeg", quality), "image")

    assert "output_compression" == caught.value.parameter


@pytest.mark.parametrize("fps", [0.0, -1.0, 240.5, float("nan"), float("inf")])
def test_a_frame_rate_out_of_range(fps: float) -> None:
    """The frame rate is a positive number that screens can show."""
    with pytest.raises(InvalidParameterError, match="frame rate") as caught:
        check_output_format(OutputFormat("mp4", fps=fps), "video")

    assert "fps" == caught.value.parameter


def test_the_frame_rate_of_a_gif() -> None:
    """Browsers play one above 50 slower."""
    check_output_format(OutputFormat("gif", fps=50), "video")
    with pytest.raises(InvalidParameterError, match="The frame rate of gif must be above 0 and at most 50, not 60"):
        check_output_format(OutputFormat("GIF", fps=60), "video")


@pytest.mark.parametrize(
    ("media_type", "suffix"),
    [("audio/mpeg", ".mp3"), ("text/plain; charset=utf-8", ".txt"), ("VIDEO/MP4", ".mp4"), ("image/tiff", ".tiff")],
)
def test_names_of_files(media_type: str, suffix: str) -> None:
    """A file is named by its media type, also where that is none of ours."""
    assert suffix == suffix_of(media_type)


@pytest.mark.parametrize(("suffix", "name"), [("jpg", "jpeg"), (".JPG", "jpeg"), (".exe", None), ("", None)])
def test_formats_by_suffix(suffix: str, name: str | None) -> None:
    """A suffix stands for a format, with or without its dot."""
    assert name == format_of_suffix(suffix)
