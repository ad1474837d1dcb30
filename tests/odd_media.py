"""Images and masks of every make, each with a plain file that shows the same."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

import spoilt
from makers.samples import SIDE, mask, png, sample_image

#: EXIF tag of how a camera was held, and its value for a quarter turn to the right.
ORIENTATION, TURNED = 0x0112, 6


def ramp() -> Image.Image:
    """Return an image in grey with every shade from black to white."""
    return Image.fromarray(np.tile(np.arange(0, 256, 256 // SIDE, dtype=np.uint8), (SIDE, 1)))


def saved(image: Image.Image, **options: Any) -> bytes:
    """Return an image as a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def turned() -> tuple[bytes, bytes]:
    """Return a photo that was taken with the camera held upright, and what it shows."""
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED
    photo = spoilt.jpeg(sample_image(), exif=exif)
    return photo, png(Image.open(io.BytesIO(photo)).convert("RGB").transpose(Image.Transpose.ROTATE_270))


def printed() -> tuple[bytes, bytes]:
    """Return an image in the colours of print, and what it shows."""
    file = spoilt.jpeg(sample_image().convert("CMYK"))
    return file, png(Image.open(io.BytesIO(file)).convert("RGB"))


def clear() -> tuple[bytes, bytes]:
    """Return an image that is transparent where its mask is black, and what it shows: white there."""
    seen = sample_image()
    seen.putalpha(mask())
    white = Image.new("RGB", seen.size, "white")
    white.paste(sample_image(), mask=mask())
    return saved(seen), saved(white)


def of_few_colours() -> tuple[bytes, bytes]:
    """Return an image with a palette, and what it shows."""
    few = ramp().quantize(7)
    return saved(few), saved(few.convert("RGB"))


IMAGES: dict[str, Callable[[], tuple[bytes, bytes]]] = {
    "16 bits": lambda: (spoilt.deep(ramp()), saved(ramp().convert("RGB"))),
    "grey": lambda: (saved(ramp()), saved(ramp().convert("RGB"))),
    "palette": of_few_colours,
    "print": printed,
    "transparent": clear,
    "turned": turned,
}


MASKS: dict[str, Callable[[], tuple[bytes, bytes]]] = {
    "16 bits": lambda: (spoilt.deep(ramp()), saved(ramp())),
    "1 bit": lambda: (saved(mask().convert("1")), saved(mask())),
    "colours": lambda: (saved(mask().convert("RGB")), saved(mask())),
    "palette": lambda: (saved(mask().convert("P")), saved(mask())),
}

#: A mask that is white all over.
WHITE = saved(Image.new("L", (SIDE, SIDE), 255))
