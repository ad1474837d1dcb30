"""Send decoded media between processes as a description in JSON and plain bytes.

Nothing from a decoder is unpickled, since a malicious file may control its decoder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from octabox.media.audio import Audio
from octabox.media.decoding.decoders import Decoded
from octabox.media.video import Video

#: Kinds of numeric dtypes: booleans, integers, real and complex numbers.
NUMBERS = "biufc"


def send(connection: Connection, medium: Decoded) -> None:
    """Send a decoded medium."""
    description, buffers = _describe(medium)
    connection.send_bytes(json.dumps(description).encode())
    for buffer in buffers:
        connection.send_bytes(buffer)


def _describe(medium: Decoded) -> tuple[dict[str, Any], list[bytes]]:
    if isinstance(medium, Image.Image):
        return {"type": "image", "mode": medium.mode, "size": medium.size}, [medium.tobytes()]
    if isinstance(medium, Video):
        return _describe_video(medium)
    if isinstance(medium, Audio):
        description, buffers = _describe(medium.samples)
        return {**description, "type": "audio", "rate": medium.rate}, buffers
    description = {"type": "array", "dtype": medium.dtype.str, "shape": medium.shape}
    return description, [np.ascontiguousarray(medium).tobytes()]


def _describe_video(video: Video) -> tuple[dict[str, Any], list[bytes]]:
    first, buffers = video.frames[0], [frame.tobytes() for frame in video.frames]
    description = {"type": "video", "mode": first.mode, "size": first.size, "frames": len(buffers), "fps": video.fps}
    description["timed"] = video.is_timed
    if video.audio is None:
        return {**description, "audio": None}, buffers
    audio, samples = _describe(video.audio)
    return {**description, "audio": audio}, buffers + samples


def receive(connection: Connection, description: Any) -> Decoded:
    """Receive the medium that follows a description.

    Raises:
        ValueError: The description and the bytes are inconsistent.
    """
    try:
        return _READERS[description["type"]](connection, description)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"The description {str(description)[:200]} is incomplete") from error


def _image(connection: Connection, description: dict[str, Any]) -> Image.Image:
    width, height = map(int, description["size"])
    return Image.frombytes(description["mode"], (width, height), connection.recv_bytes())


def _video(connection: Connection, description: dict[str, Any]) -> Video:
    frames = tuple(_image(connection, description) for _ in range(int(description["frames"])))
    audio = _audio(connection, description["audio"]) if description["audio"] else None
    return Video(frames, float(description["fps"]), audio, bool(description["timed"]))


def _audio(connection: Connection, description: dict[str, Any]) -> Audio:
    return Audio(_array(connection, description).astype(np.float32, copy=False), int(description["rate"]))


def _array(connection: Connection, description: dict[str, Any]) -> npt.NDArray[Any]:
    dtype, shape, data = np.dtype(description["dtype"]), tuple(description["shape"]), connection.recv_bytes()
    if dtype.kind not in NUMBERS or len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(data)} bytes are not an array of {dtype} of shape {shape}")
    array: npt.NDArray[Any] = np.frombuffer(data, dtype).reshape(shape).copy()
    return array


_READERS: dict[str, Callable[[Connection, dict[str, Any]], Decoded]] = {
    "image": _image,
    "video": _video,
    "audio": _audio,
    "array": _array,
}
