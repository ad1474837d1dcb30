"""Files that are not what they should be: cut off, of another kind, of other numbers, or too large."""

from __future__ import annotations

import io
import os
import pickle
import struct
import wave
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from makers.samples import content, png, sample_audio, sample_image
from octabox.media import audio
from octabox.types import OutputFormat

#: Numbers that stand for a text of 16 tokens.
EMBEDS = np.linspace(-1, 1, 16 * 32, dtype=np.float32).reshape(1, 16, 32)


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
    return audio.encode(sample_audio(), OutputFormat("flac"), {})[0]


def bomb(width: int, height: int) -> bytes:
    """Return a small PNG that says it is very large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def jpeg(image: Image.Image | None = None, **options: Any) -> bytes:
    """Return an image as a JPEG; a red disc if none is given."""
    file = io.BytesIO()
    (image or sample_image()).save(file, "JPEG", **options)
    return file.getvalue()


def deep(image: Image.Image) -> bytes:
    """Return an image as a PNG of 16 bits of grey."""
    return png(Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257))


@cache
def unreadable() -> dict[str, tuple[str, bytes, str]]:
    """Return files that cannot be read, by name: the kind that each was to be, the file, and what is said of it."""
    return {
        "text as an image": ("image", b"a picture, believe me", "is not an image"),
        "a cut PNG": ("image", cut(content("image")), "Send the complete file."),
        "a cut JPEG": ("image", cut(jpeg()), "Send the complete file."),
        "an image too large": ("image", bomb(20_000, 20_000), "Send a smaller image."),
        "an image beyond all sizes": ("image", bomb(2**31 - 1, 2**31 - 1), "Send a smaller image."),
        "no bytes as an image": ("image", b"", "is empty"),
        "an audio as an image": ("image", wav(100), "is not an image"),
        "a video as an image": ("image", content("video"), "is not an image"),
        "an array as an image": ("image", npy(EMBEDS), "is not an image"),
        "text as MP4": ("video", b"\0\0\0\x20ftypisom but no more", "of an unsupported format"),
        "a cut MP4": ("video", cut(content("video")), "Send the complete file."),
        "an MP4 without its end": ("video", content("video")[:-100], "Send the complete file."),
        "no bytes as a video": ("video", b"", "is empty"),
        "an audio as a video": ("video", wav(100), "has no video"),
        "an array as a video": ("video", npy(EMBEDS), "Send (frames, height, width, 3)"),
        "a cut image as a video": ("video", cut(content("image")), "is damaged"),
        "a WAV of no samples": ("audio", wav(0), "has an empty audio track"),
        "a cut WAV": ("audio", wav(1600)[:100], "is damaged"),
        "a cut FLAC": ("audio", cut(flac()), "is damaged"),
        "no bytes as an audio": ("audio", b"", "is empty"),
        "text as an audio": ("audio", b"la la la", "Send audio as WAV"),
        "an image as an audio": ("audio", content("image"), "Send audio as WAV"),
        "a silent video as an audio": ("audio", content("video"), "has no audio"),
        "text as an array": ("array", b"1 2 3", "or not an .npy file"),
        "an image as an array": ("array", content("image"), "or not an .npy file"),
        "no bytes as an array": ("array", b"", "is empty"),
        "a cut array": ("array", npy(EMBEDS)[:-4], "declares 1x16x32 values of 4 bytes"),
        "an array of words": ("array", npy(np.array(["a"])), "not a real number type"),
        "an array of complex numbers": ("array", npy(EMBEDS * 1j), "not a real number type"),
        "an array of no numbers": ("array", npy(EMBEDS[:, :0]), "has no values"),
        "an array with a NaN": ("array", npy(np.where(EMBEDS == 1, np.nan, EMBEDS)), "1 of 512"),
        "an array with infinity": ("array", npy(np.where(EMBEDS == 1, np.inf, EMBEDS)), "infinite: 1 of 512"),
    }
