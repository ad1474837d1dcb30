"""Tell the inputs of a call apart by what they show, so that metadata can say from what an output was made.

The SHA-256 is that of the decoded medium: of its pixels, samples or numbers. So it does not matter in which lossless format a
file was kept, and what it holds beside (its own metadata) is not in it.
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
    """Return what metadata hold of the inputs of a run, by call parameter: SHA-256, and sizes."""
    return {name: [input_digest(each) for each in media] for name, media in inputs.items()}


def input_digest(medium: Medium | None) -> Any:
    """Return what metadata hold of one input; of a list a list, and None for a place that is left open."""
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
    """Return the SHA-256 of images and arrays, their shapes included: the same numbers of another shape are another thing."""
    digest = hashlib.sha256()
    for part in parts:
        shape = (part.mode, *part.size) if isinstance(part, Image) else (str(part.dtype), *part.shape)
        digest.update(repr(shape).encode() + part.tobytes())
    return digest.hexdigest()


def in_words(facts: Any) -> str:
    """Return what metadata hold of an input, in words."""
    if isinstance(facts, list):
        return ", ".join(in_words(each) for each in facts)
    if not isinstance(facts, Mapping):
        return "nothing"
    size = f"{facts.get('width')}x{facts.get('height')}"
    if "frames" in facts:
        words = f"a video of {facts['frames']} frames of {size}"
    elif "width" in facts:
        words = f"an image of {size}"
    elif "rate" in facts:
        words = f"an audio of {facts.get('samples')} samples at {facts['rate']} Hz"
    else:
        words = f"numbers of shape {facts.get('shape')}"
    return f"{words} (SHA-256 of its content {str(facts.get('sha256'))[:12]})"
