"""Make an image larger by a model that does so, exactly as many times as was asked for."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace

from PIL import Image

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError
from octabox.media.images import decode, encode, read_size
from octabox.media.limits import MediaLimits
from octabox.service.protocols import GenerationService
from octabox.types import Artifact, Generation, GenerationRequest, OutputFormat

#: How many times larger a client may ask for.
SCALES = (2, 4)

#: How often a model may be asked, each time with what it made before.
ROUNDS = 3

#: What share of the wanted size is near enough: models round sizes to what their layers can halve.
NEARLY = 0.75


def check_scale(scale: int | None) -> None:
    """Refuse what is no scale.

    Raises:
        InvalidParameterError: It is none.
    """
    if scale is not None and scale not in SCALES:
        choices = [str(each) for each in SCALES]
        message = f"'scale' must be {' or '.join(choices)}, not {scale}."
        raise InvalidParameterError(message, parameter="scale", choices=choices)


def check_enlarges(entry: PipelineEntry | None, model: str) -> None:
    """Refuse a pipeline that only paints over an image: it can be told how much of it to keep.

    Raises:
        InvalidParameterError: It is one.
    """
    if entry is not None and entry.parameter("strength") is not None:
        raise _does_not(model)


async def enlarged(
    generations: GenerationService, request: GenerationRequest, scale: int | None, limits: MediaLimits
) -> Generation:
    """Return an image that is so many times as large as the one it is made of; without a scale, what the model makes.

    A model that makes it larger than that has its result scaled down, and one that does not reach it is asked again.

    Args:
        generations: Runs the request.
        request: Asks for an image made of the one among its inputs as ``image``, which is there as bytes.
        scale: How many times larger it is to be.
        limits: How large the images may be.

    Raises:
        InvalidParameterError: The model does not make images larger.
        MediaError: The image cannot be read.
    """
    source = request.inputs["image"][0]
    assert isinstance(source, bytes)  # noqa: S101 (the routes take files alone)
    before = given = await asyncio.to_thread(_size, source, limits)
    wanted = (given[0] * scale, given[1] * scale) if scale else None
    for again in range(ROUNDS):
        generation = await generations.generate(request)
        content = _image(generation).content
        # What the model made may be larger than what a client may send.
        made = read_size(content)
        if made[0] <= before[0] or made[1] <= before[1]:
            raise _does_not(request.model)
        if again:
            warning = "'scale' needed the model twice: once was not enough."
            generation = replace(generation, warnings=(*generation.warnings, warning))
        if wanted is None or made == wanted:
            return generation
        if made[0] >= wanted[0] * NEARLY and made[1] >= wanted[1] * NEARLY:
            break
        request, before = replace(request, inputs={**request.inputs, "image": (content,)}), made
    return await asyncio.to_thread(_scaled, generation, wanted or made, request.output)


def _size(content: bytes, limits: MediaLimits) -> tuple[int, int]:
    """Return the size of an image, as it is seen."""
    return decode(content, parameter="image", limits=limits).size


def _image(generation: Generation) -> Artifact:
    """Return the image that was made."""
    found = next((artifact for artifact in generation.artifacts if artifact.kind == "image"), None)
    if found is None:
        raise _does_not(generation.model)
    return found


def _scaled(generation: Generation, wanted: tuple[int, int], output: OutputFormat) -> Generation:
    """Return a generation with its image in another size, and a warning of that."""
    made = _image(generation)
    with Image.open(io.BytesIO(made.content)) as image:
        was, resized = image.size, image.resize(wanted, Image.Resampling.LANCZOS)
    facts = {**made.metadata, "size": {"width": wanted[0], "height": wanted[1]}}
    content, media_type = encode(resized, output, facts)
    warning = f"The model made {was[0]}x{was[1]}, which was scaled to the {wanted[0]}x{wanted[1]} that were asked for."
    image_of = replace(made, content=content, media_type=media_type, metadata=facts)
    return replace(generation, artifacts=(image_of,), warnings=(*generation.warnings, warning))


def _does_not(model: str) -> InvalidParameterError:
    """Return the error for a model that makes no larger images."""
    hint = (
        "Name a model that is made for it, such as one of super-resolution; nothing is enlarged without a model here."
    )
    return InvalidParameterError(f"Model '{model}' does not make images larger.", hint=hint, parameter="model")
