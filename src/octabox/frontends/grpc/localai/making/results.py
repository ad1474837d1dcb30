"""Convert a generation to the one file that LocalAI's core expects."""

from __future__ import annotations

import io
from dataclasses import replace

from PIL import Image

from octabox.errors import GenerationError
from octabox.service.outputs import first_output
from octabox.types import Artifact, Generation, Kind

PNG = "image/png"


def to_image(generation: Generation, *, animated: bool, fps: float) -> tuple[Artifact, tuple[str, ...]]:
    """Return the first image as PNG, with a warning if there are others, or all images as an animated PNG.

    Args:
        generation: The result.
        animated: Whether the images are the frames of a video.
        fps: Frames per second of the animation.
    """
    images = [each for each in generation.artifacts if each.media_type == PNG]
    if not images:
        types = ", ".join(sorted({each.media_type for each in generation.artifacts})) or "no output"
        raise GenerationError(f"The model generated no image: {types}.", model=generation.model)
    if animated:
        return replace(images[0], content=_encode_animation([each.content for each in images], fps)), ()
    return first_of_type(replace(generation, artifacts=tuple(images)), "image")


def first_of_type(generation: Generation, media_type: Kind) -> tuple[Artifact, tuple[str, ...]]:
    """Return the first artifact of a media type, and a warning if there are others."""
    artifact, warnings = first_output(generation.artifacts, media_type)
    if artifact is None:
        raise GenerationError(f"The model generated no {media_type}.", model=generation.model)
    return artifact, warnings


def _encode_animation(frames: list[bytes], fps: float) -> bytes:
    """Return images as an animated PNG that repeats."""
    images = [Image.open(io.BytesIO(frame)) for frame in frames]
    file = io.BytesIO()
    duration = 1000 / fps
    images[0].save(file, "PNG", save_all=True, append_images=images[1:], duration=duration, loop=0)
    return file.getvalue()
