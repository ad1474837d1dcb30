"""Media for requests, made on the spot: small, smooth and the same every time."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from octabox.media import audio, video
from octabox.media.audio import Audio
from octabox.media.video import Video
from octabox.types import OutputFormat

#: Frames of a video, and frames a second.
FRAMES, FPS = 9, 8.0

#: Samples a second of an audio, and its seconds.
RATE, SECONDS = 16_000, 1.0

#: Width and height of an image.
SIDE = 64


def sample_image(width: int = SIDE, height: int = SIDE, *, shift: int = 0) -> Image.Image:
    """Return a red disc on blue; ``shift`` moves it to the right."""
    image = Image.new("RGB", (width, height), (40, 60, 200))
    side = min(width, height)
    ImageDraw.Draw(image).ellipse((side // 4 + shift, side // 4, side * 3 // 4 + shift, side * 3 // 4), (220, 40, 40))
    return image


def mask(width: int = SIDE, height: int = SIDE) -> Image.Image:
    """Return a mask that is white in the middle."""
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).rectangle((width // 4, height // 4, width * 3 // 4, height * 3 // 4), 255)
    return image


def sample_video(width: int = SIDE, height: int = SIDE, frames: int = FRAMES) -> Video:
    """Return a disc that moves to the right."""
    return Video(tuple(sample_image(width, height, shift=index) for index in range(frames)), FPS)


def sample_audio() -> Audio:
    """Return the tone A, in stereo."""
    wave = np.sin(2 * np.pi * 440 * np.arange(int(RATE * SECONDS)) / RATE) / 2
    return Audio(np.stack([wave, wave]).astype(np.float32), RATE)


def png(image: Image.Image) -> bytes:
    """Return an image as a file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@cache
def content(kind: str, width: int = SIDE, height: int = SIDE, frames: int = FRAMES) -> bytes:
    """Return a file of a kind."""
    if kind == "video":
        return video.encode(sample_video(width, height, frames), OutputFormat("mp4"), {})[0]
    if kind == "audio":
        return audio.encode(sample_audio(), OutputFormat("wav"), {})[0]
    return png(mask(width, height) if kind == "mask" else sample_image(width, height))


def sample(marker: str) -> bytes:
    """Return the file that a marker such as ``sample:image:64x64`` or ``sample:video:64x64:5`` stands for."""
    _, kind, *size = marker.split(":")
    width, height = map(int, size[0].split("x")) if size else (SIDE, SIDE)
    return content(kind, width, height, *map(int, size[1:]))


def is_marker(value: Any) -> bool:
    """Return whether a value stands for a sample."""
    return isinstance(value, str) and value.startswith("sample:")


def parted(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a maker's parameters into plain ones and the files that its markers stand for, in whatever lists they lie."""
    plain = {name: value for name, value in params.items() if not _holds_marker(value)}
    return plain, {name: _filled(value) for name, value in params.items() if name not in plain}


def _holds_marker(value: Any) -> bool:
    return any(_holds_marker(each) for each in value) if isinstance(value, list) else is_marker(value)


def _filled(value: Any) -> Any:
    if isinstance(value, list):
        return [_filled(each) for each in value]
    return None if value is None else sample(value)
