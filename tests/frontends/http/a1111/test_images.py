"""Resize modes, and masks by colour and by transparency."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from in_process_decoder import InProcessDecoder
from octabox.frontends.http.a1111.images import CROP, FILL, STRETCH, STRETCH_LATENTS, read_mask, resize
from octabox.media.limits import MediaLimits


def image() -> Image.Image:
    """Return an image whose left half is red and whose right half is blue."""
    made = Image.new("RGB", (40, 20), "blue")
    made.paste("red", (0, 0, 20, 20))
    return made


@pytest.mark.parametrize("mode", [STRETCH, CROP, FILL, STRETCH_LATENTS])
def test_the_size_is_exact(mode: int) -> None:
    """Whatever the mode."""
    assert (32, 48) == resize(image(), (32, 48), mode).size


def test_shapes() -> None:
    """Cropping keeps the middle, filling continues the edges."""
    cropped, filled = (resize(image(), (20, 20), mode) for mode in (CROP, FILL))

    assert ((255, 0, 0), (0, 0, 255)) == (cropped.getpixel((1, 1)), cropped.getpixel((18, 18)))
    assert ((255, 0, 0), (0, 0, 255)) == (filled.getpixel((0, 0)), filled.getpixel((19, 19)))


def test_a_long_image_is_cropped_before_it_is_enlarged() -> None:
    """At the scale of its short side, the whole of it would have 4,000 times the pixels of the result."""
    made = resize(Image.new("RGB", (1, 16_000), "red"), (400, 400), CROP)

    assert ((400, 400), (255, 0, 0)) == (made.size, made.getpixel((200, 200)))


async def test_masks() -> None:
    """White is painted; in a file with transparency, what is opaque."""
    ctx: Any = SimpleNamespace(decoder=InProcessDecoder(MediaLimits()))
    white = Image.new("L", (8, 8))
    white.paste(200, (0, 0, 4, 8))
    opaque = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    opaque.paste((0, 0, 0, 255), (0, 0, 4, 8))
    rounded = [await read_mask(ctx, encoded(each)) for each in (white, opaque)]
    soft = await read_mask(ctx, encoded(white), is_rounded=False)

    assert rounded[0].tobytes() == rounded[1].tobytes()
    assert 255 == rounded[0].getpixel((0, 0))
    assert 200 == soft.getpixel((0, 0))


def encoded(made: Image.Image) -> str:
    """Return an image as a request has it."""
    file = io.BytesIO()
    made.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
