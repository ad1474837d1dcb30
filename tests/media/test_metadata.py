"""What a picture was made from, inside it."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from octabox.media.audio import Sound
from octabox.media.audio import encode as encode_sound
from octabox.media.images import encode
from octabox.media.metadata import from_parameters, parameters_text, read
from octabox.media.video import Clip
from octabox.media.video import encode as encode_clip
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


def written(metadata: dict[str, Any], name: str) -> bytes:
    """Return a picture with metadata inside."""
    return encode(Image.new("RGB", (8, 8)), OutputFormat(name), metadata)[0]


def test_the_text_of_the_web_ui() -> None:
    """The text is as other programs expect it, with our own names behind."""
    expected = (
        "a red circle\n"
        "Negative prompt: blur, noise\n"
        "Steps: 20, Sampler: DDIMScheduler, CFG scale: 7, Seed: 1, Size: 128x96, Model: demo, Denoising strength: 0.5, "
        "Pipeline: StableDiffusionPipeline, Version: octabox 0.1.0"
    )

    assert expected == parameters_text(METADATA)


def test_values_that_hold_separators_are_quoted() -> None:
    """A comma inside a value does not end it."""
    assert 'Seed: 2, Model: "a, b"' in parameters_text({"model": "a, b", "seed": 2})


def test_a_png_holds_the_text() -> None:
    """The text stands where the web UI writes it."""
    with Image.open(io.BytesIO(written(METADATA, "png"))) as image:
        found = image.info["parameters"]

    assert parameters_text(METADATA) == found


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(
    "prompt", ["a red circle", "日本語 \N{ROCKET} ünï", 'quotes " and\nlines', "octabox: {}\noctabox: []"]
)
def test_metadata_comes_back(name: str, prompt: str) -> None:
    """What was written is read, in every format and every script."""
    metadata = {**METADATA, "params": {**METADATA["params"], "prompt": prompt}}

    assert metadata == read(written(metadata, name))


@pytest.mark.parametrize(("length", "kept"), [(15_000, True), (80_000, False)])
def test_what_does_not_fit_a_jpeg(length: int, kept: bool) -> None:
    """A picture is never lost for its metadata: the text goes first, then all of it."""
    metadata = {"params": {"prompt": "x" * length}}

    assert (metadata if kept else {}) == read(written(metadata, "jpeg"))


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_a_picture_without_metadata(name: str) -> None:
    """Nothing was written, nothing is read."""
    assert {} == read(written({}, name))


@pytest.mark.parametrize("name", ["mp4", "webm", "gif", "webp"])
def test_a_clip_holds_metadata(name: str) -> None:
    """What a clip was made from is read out of its file."""
    clip = Clip((Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")))

    assert METADATA == read(encode_clip(clip, OutputFormat(name), METADATA)[0])
    assert {} == read(encode_clip(clip, OutputFormat(name), {})[0])


@pytest.mark.parametrize("name", ["wav", "flac", "mp3"])
def test_a_sound_holds_metadata(name: str) -> None:
    """What a sound was made from is read out of its file."""
    sound = Sound(np.zeros((1, 4000), np.float32), 8000)

    assert METADATA == read(encode_sound(sound, OutputFormat(name), METADATA)[0])
    assert {} == read(encode_sound(sound, OutputFormat(name), {})[0])


@pytest.mark.parametrize("data", [b"", b"hello", b"RIFF\0\0\0\0WAVE", b"RIFF\x10\0\0\0WEBPVP8L\x04\0\0\0abcd"])
def test_what_is_no_media_holds_none(data: bytes) -> None:
    """A file of another kind is no reason to fail."""
    assert {} == read(data)


def test_half_of_a_character_is_no_reason_to_fail() -> None:
    """A lone surrogate, which UTF-8 cannot hold, does not cost the picture."""
    with Image.open(io.BytesIO(written({"params": {"prompt": "x\ud800"}}, "png"))) as image:
        found = image.info["parameters"]

    assert "x?\n" == found


def test_the_web_ui_s_text_is_read_back() -> None:
    """What we write for other programs is read as the web UI's own text is: the last line in our words."""
    params = {
        "prompt": "a (red:1.2) star,\nSteps: none",
        "negative_prompt": "blue: yes",
        "num_inference_steps": 20,
        "guidance_scale": 3.5,
        "width": 64,
        "height": 32,
        "clip_skip": 1,
        "strength": 0.5,
    }
    facts = {
        "params": params,
        "seed": 0,
        "model": "a, b",
        "scheduler": {"name": "Euler"},
        "pipeline": "P",
        "version": "1",
    }

    assert {
        "params": params,
        "prompt_syntax": "a1111",
        "seed": 0,
        "model": "a, b",
        "scheduler": {"name": "Euler", "settings": {}},
    } == from_parameters(parameters_text(facts))
    assert "Clip skip: 2" in parameters_text(facts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a star", {"prompt": "a star"}),
        ("a star\nSteps: 4, Seed: 1", {"prompt": "a star\nSteps: 4, Seed: 1"}),
        (
            "a\nNegative prompt: b\nc\nSteps: x, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Clip skip: 2",
            {"prompt": "a", "negative_prompt": "b\nc", "guidance_scale": 7.0, "clip_skip": 1},
        ),
    ],
)
def test_texts_of_the_web_ui(text: str, expected: dict[str, Any]) -> None:
    """Few pairs are words of the prompt, and what is no number is left out."""
    assert expected == from_parameters(text)["params"]


def test_the_web_ui_s_schedule_belongs_to_its_sampler() -> None:
    """Both are one name, less what the web UI calls automatic."""
    pairs = "a\nSteps: 4, Sampler: DPM++ 2M, Schedule type: {}, CFG scale: 7"

    assert "DPM++ 2M Karras" == from_parameters(pairs.format("Karras"))["scheduler"]["name"]
    assert "DPM++ 2M" == from_parameters(pairs.format("Automatic"))["scheduler"]["name"]
