"""Pictures, masks and sounds of every make to a real server: each is seen as what it shows, whatever way its file writes it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import spoilt
from bringing import PAINTER, ask
from makers.samples import SIDE, mask, picture, png

#: EXIF tag of how a camera was held, and its value for a quarter turn to the right.
ORIENTATION, TURNED = 0x0112, 6


def made(takers: httpx.Client, **files: Any) -> bytes:
    """Return what is made of a picture and a mask."""
    answer = ask(takers, PAINTER, **files)
    assert answer.is_success, answer.text
    return base64.b64decode(answer.json()["outputs"][0]["b64_json"])


def ramp() -> Image.Image:
    """Return a picture in grey with every shade from black to white."""
    return Image.fromarray(np.tile(np.arange(0, 256, 256 // SIDE, dtype=np.uint8), (SIDE, 1)))


def saved(image: Image.Image, **options: Any) -> bytes:
    """Return a picture as a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def turned() -> tuple[bytes, bytes]:
    """Return a photo that was taken with the camera held upright, and what it shows."""
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED
    photo = spoilt.jpeg(picture(), exif=exif)
    return photo, png(Image.open(io.BytesIO(photo)).convert("RGB").transpose(Image.Transpose.ROTATE_270))


def printed() -> tuple[bytes, bytes]:
    """Return a picture in the colours of print, and what it shows."""
    file = spoilt.jpeg(picture().convert("CMYK"))
    return file, png(Image.open(io.BytesIO(file)).convert("RGB"))


def clear() -> tuple[bytes, bytes]:
    """Return a picture that is transparent where its mask is black, and what it shows: white there."""
    seen = picture()
    seen.putalpha(mask())
    white = Image.new("RGB", seen.size, "white")
    white.paste(picture(), mask=mask())
    return saved(seen), saved(white)


def of_few_colours() -> tuple[bytes, bytes]:
    """Return a picture with a palette, and what it shows."""
    few = ramp().quantize(7)
    return saved(few), saved(few.convert("RGB"))


PICTURES: dict[str, Callable[[], tuple[bytes, bytes]]] = {
    "16 bits": lambda: (spoilt.deep(ramp()), saved(ramp().convert("RGB"))),
    "grey": lambda: (saved(ramp()), saved(ramp().convert("RGB"))),
    "palette": of_few_colours,
    "print": printed,
    "transparent": clear,
    "turned": turned,
}


@pytest.mark.parametrize("name", list(PICTURES))
def test_a_picture_is_what_it_shows(takers: httpx.Client, name: str) -> None:
    """The same comes of it as of a plain PNG of eight bits a colour that shows the same, and other than of another picture."""
    odd, plain = PICTURES[name]()
    found = made(takers, image=odd)

    assert made(takers, image=plain) == found
    assert made(takers) != found


MASKS: dict[str, Callable[[], tuple[bytes, bytes]]] = {
    "16 bits": lambda: (spoilt.deep(ramp()), saved(ramp())),
    "1 bit": lambda: (saved(mask().convert("1")), saved(mask())),
    "colours": lambda: (saved(mask().convert("RGB")), saved(mask())),
    "palette": lambda: (saved(mask().convert("P")), saved(mask())),
}


@pytest.mark.parametrize("name", list(MASKS))
def test_a_mask_is_what_it_shows(takers: httpx.Client, name: str) -> None:
    """The same comes of it as of a mask of eight bits of grey, and other than of a mask that is white all over."""
    odd, plain = MASKS[name]()
    found = made(takers, mask_image=odd)

    assert made(takers, mask_image=plain) == found
    assert made(takers, mask_image=saved(Image.new("L", (SIDE, SIDE), 255))) != found
