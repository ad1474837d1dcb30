"""Convert a generation to the one file that LocalAI's core expects."""

from __future__ import annotations

import io
from dataclasses import replace

from PIL import Image

from octabox.errors import GenerationError
from octabox.types import Artifact, Generation, Kind

PNG = "image/png"


def to_image(generation: Generation, *, animated: bool, fps: float) -> Artifact:
    """Return the first image as PNG, or all images as an animated PNG.

    Args:
        generation: The result.
        animated: Whether the images are the frames of a video.
        fps: Frames per second of the animation.
    """
    images = [each for each in generation.artifacts if each.media_type == PNG]
    if not images:
        types = ", ".join(sorted({each.media_type for each in generation.artifacts})) or "no output"
        raise GenerationError(f"The model generated no image: {types}.", model=generation.model)
    first = images[0]
    return replace(first, content=_encode_animation([each.content for each in images], fps)) if animated else first


def first_of_type(generation: Generation, media_type: Kind) -> Artifact:
    """Return the first artifact of a media type."""
    for artifact in generation.artifacts:
        if artifact.kind == media_type:
            return artifact
    raise GenerationError(f"The model generated no {media_type}.", model=generation.model)


def _encode_animation(frames: list[bytes], fps: float) -> bytes:
    """Return images as an animated PNG that repeats."""
    images = [Image.open(io.BytesIO(frame)) for frame in frames]
    file = io.BytesIO()
    duration = 1000 / fps
    images[0].save(file, "PNG", save_all=True, append_images=images[1:], duration=duration, loop=0)
    return file.getvalue()
