"""From a generation to the one file that LocalAI's core waits for."""

from __future__ import annotations

import io
from dataclasses import replace

from PIL import Image

from octabox.errors import GenerationError, TaskNotFoundError
from octabox.types import Artifact, Generation, Kind

PNG = "image/png"


def picture(generation: Generation, *, moving: bool, fps: float) -> Artifact:
    """Return the picture that was made, as PNG; the frames of a clip as an animated one.

    Args:
        generation: What was made.
        moving: Whether its pictures are the frames of a clip.
        fps: Frames a second of a clip.
    """
    pictures = [each for each in generation.artifacts if each.media_type == PNG]
    if not pictures:
        made = ", ".join(sorted({each.media_type for each in generation.artifacts}))
        raise GenerationError(f"The model made no picture, but {made or 'nothing'}.", model=generation.model)
    first = pictures[0]
    return replace(first, content=_animated([each.content for each in pictures], fps)) if moving else first


def of_kind(generation: Generation, kind: Kind) -> Artifact:
    """Return the first thing of a kind that was made."""
    for artifact in generation.artifacts:
        if artifact.kind == kind:
            return artifact
    raise GenerationError(f"The model made no {kind}.", model=generation.model)


def enlarged(artifact: Artifact, source: bytes, scale: int) -> tuple[Artifact, str]:
    """Return a picture of as many times the size of its source as was asked for, and what to say of it.

    Args:
        artifact: What the model made of the source.
        source: The picture that was to be enlarged.
        scale: How many times it was to be enlarged; 0 is as often as the model does.

    Raises:
        TaskNotFoundError: The model does not enlarge pictures, or not so much.
    """
    with Image.open(io.BytesIO(source)) as before, Image.open(io.BytesIO(artifact.content)) as after:
        (wide, high), factor = before.size, after.width / before.width
        if factor <= 1:
            message = f"The model makes no larger pictures: {wide}x{high} became {after.width}x{after.height}."
            raise TaskNotFoundError(message, hint="Load a model that enlarges pictures.")
        if scale > factor + 0.01:
            message = f"The model enlarges pictures {factor:g} times, not {scale} times."
            raise TaskNotFoundError(message, hint=f"Ask for a scale of {factor:g}.")
        wanted = (wide * scale, high * scale)
        if scale < 1 or after.size == wanted:
            return artifact, ""
        file = io.BytesIO()
        after.resize(wanted, Image.Resampling.LANCZOS).save(file, "PNG")
    note = f"The model enlarges pictures {factor:g} times; the result was reduced to {scale} times."
    return replace(artifact, content=file.getvalue()), note


def _animated(frames: list[bytes], fps: float) -> bytes:
    """Return pictures as one animated PNG that repeats for ever."""
    pictures = [Image.open(io.BytesIO(frame)) for frame in frames]
    file = io.BytesIO()
    duration = 1000 / fps
    pictures[0].save(file, "PNG", save_all=True, append_images=pictures[1:], duration=duration, loop=0)
    return file.getvalue()
