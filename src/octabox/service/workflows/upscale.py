"""Enlarge an image by a model to an exact scale."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace

from PIL import Image

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError
from octabox.media.decoding.decoders import Decoder
from octabox.media.images import encode, read_size
from octabox.media.limits import check_output_size
from octabox.service.outputs import first_output
from octabox.service.protocols import GenerationService, Models
from octabox.service.selection.inputs import STRENGTH, source_parameter
from octabox.types import Artifact, Generation, GenerationRequest, OutputFormat

#: Valid scales.
SCALES = (2, 4)

#: Maximum calls of the model, each with the result of the one before.
MAX_CALLS = 3

#: Fraction of the target size that is close enough, since models round sizes.
TOLERANCE = 0.75


def check_scale(scale: int | None) -> None:
    """Check a scale.

    Raises:
        InvalidParameterError: It is invalid.
    """
    if scale is not None and scale not in SCALES:
        choices = [str(each) for each in SCALES]
        message = f"'scale' must be {' or '.join(choices)}, not {scale}."
        raise InvalidParameterError(message, parameter="scale", choices=choices)


def check_enlarges(entry: PipelineEntry | None, model: str) -> None:
    """Check that a pipeline may enlarge images: it transforms one, and not by a strength, which keeps the size.

    Raises:
        InvalidParameterError: It does not.
    """
    if entry is not None and (source_parameter(entry) is None or entry.parameter(STRENGTH) is not None):
        raise _not_an_upscaler(model)


async def upscale_image(
    generations: GenerationService,
    request: GenerationRequest,
    scale: int | None,
    decoder: Decoder,
    max_pixels: int,
    models: Models | None = None,
) -> Generation:
    """Return an image enlarged by a scale; without a scale, the result of the model.

    A larger result is scaled down; the model is called again on a smaller one.

    Args:
        generations: Runs the request.
        request: The request, with the bytes of the image as its input ``image``, or as its only input.
        scale: The scale.
        decoder: Decodes the image.
        max_pixels: Maximum number of pixels of the scaled image.
        models: The models by which the request was translated; None for the current ones.

    Raises:
        InvalidParameterError: The model does not enlarge images, or the scaled image would be too large.
        MediaError: The image cannot be decoded.
    """
    name = "image" if "image" in request.inputs else next(iter(request.inputs))
    source = request.inputs[name][0]
    assert isinstance(source, bytes)  # noqa: S101 (the routes take files alone)
    before = original = await _size(source, decoder, name)
    target = _target(original, scale, max_pixels) if scale else None
    for again in range(MAX_CALLS):
        generation = await generations.generate(request, models)
        content = _image(generation).content
        # The result may exceed the limits of inputs.
        size = read_size(content)
        if size[0] <= before[0] or size[1] <= before[1]:
            raise _not_an_upscaler(request.model)
        if again:
            warning = "'scale' required several calls of the model."
            generation = replace(generation, warnings=(*generation.warnings, warning))
        if target is None or size == target:
            return generation
        if size[0] >= target[0] * TOLERANCE and size[1] >= target[1] * TOLERANCE:
            break
        request, before = replace(request, inputs={**request.inputs, name: (content,)}), size
    return await asyncio.to_thread(_scaled, generation, target or size, request.output)


def _target(size: tuple[int, int], scale: int, limit: int) -> tuple[int, int]:
    """Return a scaled size."""
    target = size[0] * scale, size[1] * scale
    check_output_size(target, limit, "scale")
    return target


async def _size(content: bytes, decoder: Decoder, parameter: str) -> tuple[int, int]:
    """Return the size of an image after its orientation is applied."""
    image = await decoder.decode("image", content, parameter=parameter)
    assert isinstance(image, Image.Image)  # noqa: S101 (of that kind)
    return image.size


def _image(generation: Generation) -> Artifact:
    """Return the image of a result."""
    found, _ = first_output(generation.artifacts, "image")
    if found is None:
        raise _not_an_upscaler(generation.model)
    return found


def _scaled(generation: Generation, target: tuple[int, int], output: OutputFormat) -> Generation:
    """Return a result with its image at another size, and a warning."""
    artifact = _image(generation)
    with Image.open(io.BytesIO(artifact.content)) as image:
        original, resized = image.size, image.resize(target, Image.Resampling.LANCZOS)
    metadata = {**artifact.metadata, "size": {"width": target[0], "height": target[1]}}
    content, media_type = encode(resized, output, metadata)
    warning = f"The model made {original[0]}x{original[1]}, which was scaled to {target[0]}x{target[1]}."
    artifact = replace(artifact, content=content, media_type=media_type, metadata=metadata)
    return replace(generation, artifacts=(artifact,), warnings=(*generation.warnings, warning))


def _not_an_upscaler(model: str) -> InvalidParameterError:
    """Return the error for a model that does not enlarge images."""
    hint = (
        "Name a model that is made for it, such as one of super-resolution; nothing is enlarged without a model here."
    )
    return InvalidParameterError(f"Model '{model}' does not make images larger.", hint=hint, parameter="model")
