"""Digests of the inputs of a call, for the metadata of its outputs.

The SHA-256 is that of the decoded medium, so it does not depend on the lossless format of a file, nor on the file's metadata.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL.Image import Image

from octabox.engine.protocol import Medium
from octabox.media.audio import Audio
from octabox.media.video import Video


def input_digests(inputs: Mapping[str, tuple[Medium, ...]]) -> dict[str, list[Any]]:
    """Return the SHA-256 and the size of each input, by call parameter."""
    return {name: [input_digest(each) for each in media] for name, media in inputs.items()}


def input_digest(medium: Medium | None) -> Any:
    """Return the SHA-256 and the size of an input; a list for a list, and None for None."""
    if isinstance(medium, list):
        return [input_digest(each) for each in medium]
    if isinstance(medium, Image):
        return {"sha256": _sha256(medium), "width": medium.width, "height": medium.height}
    if isinstance(medium, Video):
        first, samples = medium.frames[0], [medium.audio.samples] if medium.audio else []
        return {
            "sha256": _sha256(*medium.frames, *samples),
            "width": first.width,
            "height": first.height,
            "frames": len(medium.frames),
        }
    if isinstance(medium, Audio):
        return {"sha256": _sha256(medium.samples), "samples": int(medium.samples.shape[-1]), "rate": medium.rate}
    return (
        None if medium is None else {"sha256": _sha256(medium), "shape": list(medium.shape), "dtype": str(medium.dtype)}
    )


def _sha256(*parts: Image | np.ndarray) -> str:
    """Return the SHA-256 of images and arrays, including their shapes."""
    digest = hashlib.sha256()
    for part in parts:
        shape = (part.mode, *part.size) if isinstance(part, Image) else (str(part.dtype), *part.shape)
        digest.update(repr(shape).encode() + part.tobytes())
    return digest.hexdigest()


def describe_digest(digest: Any) -> str:
    """Return the description of an input by its digest in the metadata."""
    if isinstance(digest, list):
        return ", ".join(describe_digest(each) for each in digest)
    if not isinstance(digest, Mapping):
        return "nothing"
    size = f"{digest.get('width')}x{digest.get('height')}"
    if "frames" in digest:
        description = f"a video of {digest['frames']} frames of {size}"
    elif "width" in digest:
        description = f"an image of {size}"
    elif "rate" in digest:
        description = f"audio of {digest.get('samples')} samples at {digest['rate']} Hz"
    else:
        description = f"numbers of shape {digest.get('shape')}"
    return f"{description} (SHA-256 of its content {str(digest.get('sha256'))[:12]})"
