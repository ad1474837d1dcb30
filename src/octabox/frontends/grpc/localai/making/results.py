"""From a generation to the one file that LocalAI's core waits for."""

from __future__ import annotations

import io
from dataclasses import replace

from PIL import Image

from octabox.errors import GenerationError
from octabox.types import Artifact, Generation, Kind

PNG = "image/png"


def image(generation: Generation, *, moving: bool, fps: float) -> Artifact:
    """Return the image that was made, as PNG; the frames of a video as an animated one.

    Args:
        generation: What was made.
        moving: Whether its images are the frames of a video.
        fps: Frames a second of a video.
    """
    images = [each for each in generation.artifacts if each.media_type == PNG]
    if not images:
        made = ", ".join(sorted({each.media_type for each in generation.artifacts}))
        raise GenerationError(f"The model made no image, but {made or 'nothing'}.", model=generation.model)
    first = images[0]
    return replace(first, content=_animated([each.content for each in images], fps)) if moving else first


def of_kind(generation: Generation, kind: Kind) -> Artifact:
    """Return the first thing of a kind that was made."""
    for artifact in generation.artifacts:
        if artifact.kind == kind:
            return artifact
    raise GenerationError(f"The model made no {kind}.", model=generation.model)


def _animated(frames: list[bytes], fps: float) -> bytes:
    """Return images as one animated PNG that repeats for ever."""
    images = [Image.open(io.BytesIO(frame)) for frame in frames]
    file = io.BytesIO()
    duration = 1000 / fps
    images[0].save(file, "PNG", save_all=True, append_images=images[1:], duration=duration, loop=0)
    return file.getvalue()
