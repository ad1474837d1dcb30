"""Read the request in the generation metadata of a file: that of Octabox, or that of the AUTOMATIC1111 web UI."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from octabox.errors import MediaError
from octabox.media.images import READABLE_FORMATS, decode_texts, is_image
from octabox.media.limits import MediaLimits
from octabox.media.metadata.chunks import TEXT_CHUNK, read_metadata
from octabox.media.metadata.infotext import LAYER, read_pairs

#: Types of the values in metadata that are a part of a request; others of another type are damaged.
TYPES: dict[str, type] = {
    "model": str,
    "task": str,
    "params": dict,
    "workflow": dict,
    "adapters": list,
    "seed": int,
    LAYER: int,
}


def decode_metadata(data: bytes, *, parameter: str, limits: MediaLimits) -> npt.NDArray[np.uint8]:
    """Return the metadata of a file as JSON in UTF-8: ``metadata``, and ``unused`` with what of an infotext is not read.

    Args:
        data: An image, a video or audio, or an infotext in UTF-8.
        parameter: Name of the file, for errors.
        limits: Limits of the input.

    Raises:
        MediaError: It has no metadata, is damaged, or is too large.
    """
    limits.check_bytes(data, parameter)
    # First, since it checks the size of an image before Pillow reads its pixels.
    infotext = _infotext(data, parameter=parameter, limits=limits) if is_image(data) else _text(data)
    metadata, unused = read_metadata(data, READABLE_FORMATS), list[str]()
    if not metadata:
        metadata, unused = read_pairs(infotext)
    if not metadata:
        hint = "It may come from another program, or its metadata may have been removed."
        raise MediaError("This file has no generation metadata.", hint=hint, parameter=parameter)
    return np.frombuffer(json.dumps({"metadata": _checked(metadata), "unused": unused}).encode(), np.uint8)


def _checked(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata without values of a wrong type, and with parameters."""
    found = {name: value for name, value in metadata.items() if isinstance(value, TYPES.get(name, object))}
    return {**found, "params": found.get("params", {})}


def _infotext(data: bytes, *, parameter: str, limits: MediaLimits) -> str:
    """Return the infotext of an image; empty if there is none."""
    infotext: str = json.loads(decode_texts(data, parameter=parameter, limits=limits).tobytes())[TEXT_CHUNK]
    return infotext


def _text(data: bytes) -> str:
    """Return the text of a file; empty for other files."""
    try:
        return "" if b"\0" in data else data.decode("utf-8")
    except UnicodeDecodeError:
        return ""
