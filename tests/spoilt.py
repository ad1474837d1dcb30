"""Files that are not what they should be: cut off, of another kind, of other numbers, or too large."""

from __future__ import annotations

import io
import os
import pickle
import struct
import wave
import zlib
from typing import Any

import numpy as np
from PIL import Image

from makers.samples import picture, png, sound
from octabox.media import audio
from octabox.types import OutputFormat


def cut(data: bytes, part: float = 0.5) -> bytes:
    """Return the beginning of a file."""
    return data[: int(len(data) * part)]


def npy(array: Any, *, pickled: bool = False) -> bytes:
    """Return an array as numpy writes it."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickled)
    return file.getvalue()


class Trap:
    """An object that makes a folder where whoever reads it unpickles it.

    Args:
        path: The folder.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self._path,)


def pickled_array(path: str) -> bytes:
    """Return an .npy file of an object that makes a folder once it is unpickled."""
    return npy(np.array([Trap(path)], dtype=object), pickled=True)


def pickled(path: str) -> bytes:
    """Return a bare pickle of an object that makes a folder once it is unpickled."""
    return pickle.dumps(Trap(path))


def wav(samples: int, channels: int = 2) -> bytes:
    """Return a WAV of so many samples of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(b"\0" * 2 * channels * samples)
    return file.getvalue()


def flac() -> bytes:
    """Return a good FLAC."""
    return audio.encode(sound(), OutputFormat("flac"), {})[0]


def bomb(width: int, height: int) -> bytes:
    """Return a small PNG that says it is very large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def jpeg(image: Image.Image | None = None, **options: Any) -> bytes:
    """Return a picture as a JPEG; a red disc if none is given."""
    file = io.BytesIO()
    (image or picture()).save(file, "JPEG", **options)
    return file.getvalue()


def deep(image: Image.Image) -> bytes:
    """Return a picture as a PNG of 16 bits of grey."""
    return png(Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257))
