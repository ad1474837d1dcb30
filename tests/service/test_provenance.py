"""What metadata hold of inputs."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from octabox.media.audio import Audio
from octabox.media.images import decode
from octabox.media.limits import MediaLimits
from octabox.media.video import Video
from octabox.service.provenance import describe_digest, input_digest, input_digests

RED, BLUE = (Image.new("RGB", (4, 2), colour) for colour in ("red", "blue"))
SAMPLES = np.zeros((2, 8), np.float32)


def saved(image: Image.Image, **options: Any) -> bytes:
    """Return the bytes of an image's file."""
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def test_an_image_is_the_same_in_any_lossless_file() -> None:
    """What counts is what is seen."""
    files = [
        saved(RED, format="PNG"),
        saved(RED, format="PNG", compress_level=0),
        saved(RED, format="WEBP", lossless=True),
    ]
    found = [input_digest(decode(file, parameter="image", limits=MediaLimits())) for file in files]

    assert [found[0]] * 3 == found
    assert (4, 2, 64) == (found[0]["width"], found[0]["height"], len(found[0]["sha256"]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (RED, BLUE),
        (RED, RED.resize((2, 4))),
        (RED.convert("L"), RED),
        (Video((RED, BLUE)), Video((BLUE, RED))),
        (Video((RED,)), Video((RED,), audio=Audio(SAMPLES, 100))),
        (Audio(SAMPLES, 100), Audio(SAMPLES + 0.5, 100)),
        (SAMPLES, SAMPLES.reshape(4, 4)),
        (SAMPLES, SAMPLES.astype(np.int32)),
        ([RED, None], [RED, BLUE]),
    ],
)
def test_another_thing_is_told_from_the_first(one: Any, other: Any) -> None:
    """Each kind by its numbers, their order and their shape."""
    assert input_digest(one) == input_digest(one)
    assert input_digest(one) != input_digest(other)


@pytest.mark.parametrize(
    ("medium", "words"),
    [
        (RED, "an image of 4x2 (SHA-256 of its content "),
        (Video((RED, BLUE)), "a video of 2 frames of 4x2 ("),
        (Audio(SAMPLES, 100), "audio of 8 samples at 100 Hz ("),
        (SAMPLES, "numbers of shape [2, 8] ("),
        ([None, RED], "nothing, an image of 4x2 ("),
    ],
)
def test_it_can_be_read(medium: Any, words: str) -> None:
    """By people, and by programs as JSON."""
    (found,) = json.loads(json.dumps(input_digests({"image": (medium,)})))["image"]

    assert input_digest(medium) == found
    assert describe_digest(found).startswith(words)
