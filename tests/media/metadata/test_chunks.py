"""What an image was made from, inside it."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from octabox.media.audio import Audio
from octabox.media.audio import encode as encode_audio
from octabox.media.images import encode
from octabox.media.metadata.chunks import (
    EXIF_DIRECTORY,
    USER_COMMENT,
    read_infotext,
    read_metadata,
    read_parameters,
)
from octabox.media.metadata.infotext import format_infotext
from octabox.media.video import Video
from octabox.media.video import encode as encode_video
from octabox.types import OutputFormat

METADATA: dict[str, Any] = {
    "version": "0.1.0",
    "model": "demo",
    "pipeline": "StableDiffusionPipeline",
    "task": "text-to-image",
    "params": {
        "prompt": "a red circle",
        "negative_prompt": "blur, noise",
        "num_inference_steps": 20,
        "guidance_scale": 7,
        "strength": 0.5,
        "width": 128,
        "height": 96,
    },
    "seed": 1,
    "scheduler": {"name": "DDIMScheduler", "settings": {"eta": 0.5}},
}

#: The description of an image as other programs write it.
TEXT = "日本語 a cat\nSteps: 9, Sampler: Euler, Seed: 4, Size: 64x64"


def written(metadata: dict[str, Any], name: str) -> bytes:
    """Return an image with metadata inside."""
    return encode(Image.new("RGB", (8, 8)), OutputFormat(name), metadata)[0]


def test_a_png_holds_the_text() -> None:
    """The text stands where the web UI writes it."""
    with Image.open(io.BytesIO(written(METADATA, "png"))) as image:
        found = image.info["parameters"]

    assert format_infotext(METADATA) == found


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(
    "prompt", ["a red circle", "日本語 \N{ROCKET} ünï", 'quotes " and\nlines', "octabox: {}\noctabox: []"]
)
def test_metadata_comes_back(name: str, prompt: str) -> None:
    """What was written is read, in every format and every script."""
    metadata = {**METADATA, "params": {**METADATA["params"], "prompt": prompt}}

    assert metadata == read_metadata(written(metadata, name))


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + TEXT.encode("utf-16-be"),
        b"UNICODE\0" + TEXT.encode("utf-16-le"),
        b"UNICODE\0" + TEXT.encode("utf-16"),
        b"ASCII\0\0\0" + TEXT.encode(),
        bytes(8) + TEXT.encode() + b"\0",
        TEXT.encode(),
    ],
    ids=["big-endian", "little-endian", "with a mark", "ascii", "undefined", "without a code"],
)
def test_comments_of_other_programs(comment: bytes) -> None:
    """The eight bytes before the text are the code of its characters, which some leave out; the byte order is theirs."""
    exif, file = Image.Exif(), io.BytesIO()
    exif.get_ifd(EXIF_DIRECTORY)[USER_COMMENT] = comment
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)

    assert TEXT == read_infotext(file.getvalue())
    assert "日本語 a cat" == read_parameters(file.getvalue())["params"]["prompt"]


@pytest.mark.parametrize(("length", "kept"), [(15_000, True), (80_000, False)])
def test_what_does_not_fit_a_jpeg(length: int, kept: bool) -> None:
    """An image is never lost for its metadata: the text goes first, then all of it."""
    metadata = {"params": {"prompt": "x" * length}}

    assert (metadata if kept else {}) == read_metadata(written(metadata, "jpeg"))


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_an_image_without_metadata(name: str) -> None:
    """Nothing was written, nothing is read."""
    assert {} == read_metadata(written({}, name))


@pytest.mark.parametrize("name", ["mp4", "webm", "gif", "webp"])
def test_a_video_holds_metadata(name: str) -> None:
    """What a video was made from is read out of its file."""
    clip = Video((Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")))

    assert METADATA == read_metadata(encode_video(clip, OutputFormat(name), METADATA)[0])
    assert {} == read_metadata(encode_video(clip, OutputFormat(name), {})[0])


@pytest.mark.parametrize("name", ["wav", "flac", "mp3"])
def test_an_audio_holds_metadata(name: str) -> None:
    """What an audio was made from is read out of its file."""
    sound = Audio(np.zeros((1, 4000), np.float32), 8000)

    assert METADATA == read_metadata(encode_audio(sound, OutputFormat(name), METADATA)[0])
    assert {} == read_metadata(encode_audio(sound, OutputFormat(name), {})[0])


@pytest.mark.parametrize("data", [b"", b"hello", b"RIFF\0\0\0\0WAVE", b"RIFF\x10\0\0\0WEBPVP8L\x04\0\0\0abcd"])
def test_what_is_no_media_holds_none(data: bytes) -> None:
    """A file of another kind is no reason to fail."""
    assert {} == read_metadata(data)


def test_half_of_a_character_is_no_reason_to_fail() -> None:
    """A lone surrogate, which UTF-8 cannot hold, does not cost the image."""
    with Image.open(io.BytesIO(written({"params": {"prompt": "x\ud800"}}, "png"))) as image:
        found = image.info["parameters"]

    assert "x?\n" == found
