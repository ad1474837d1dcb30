"""Enlarge images by filters and models, as the web UI's tab for it does."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from PIL import Image, ImageOps

from octabox.errors import GenerationError
from octabox.frontends.http.a1111.extras.schema import ExtrasBody
from octabox.frontends.http.a1111.upscalers import find_upscaler
from octabox.frontends.http.context import AppContext
from octabox.media.images import encode_png
from octabox.media.limits import check_output_size
from octabox.media.regions import Size
from octabox.service.outputs import first_output
from octabox.service.protocols import Models
from octabox.service.selection.inputs import source_parameter
from octabox.service.workflows.resize import FILTERS
from octabox.types import GenerationRequest, OutputFormat


async def enlarge(
    ctx: AppContext, models: Models, body: ExtrasBody, image: Image.Image, warnings: list[str]
) -> Image.Image:
    """Return an enlarged image; unchanged without an upscaler.

    Args:
        ctx: Collaborators of the routes.
        models: The models of the server, as the request sees them.
        body: The fields.
        image: The image.
        warnings: Receives the warnings.

    Raises:
        OctaboxError: There is no such upscaler, the result is too large, or the model has failed.
    """
    size, field = _size(body, image.size)
    fit = body.resize_mode == 0 or body.upscaling_crop
    names = [
        await asyncio.to_thread(find_upscaler, models, getattr(body, field), field)
        for field in ("upscaler_1", "upscaler_2")
    ]
    if names[0] is None:
        return image
    first = await enlarge_to(ctx, models, names[0], image, size, warnings, field, fit=fit)
    if names[1] is None or not body.extras_upscaler_2_visibility:
        return first
    second = await enlarge_to(ctx, models, names[1], image, size, warnings, field, fit=fit)
    if second.size != first.size:
        second = second.resize(first.size, Image.Resampling.LANCZOS)
    return await asyncio.to_thread(Image.blend, first, second, body.extras_upscaler_2_visibility)


def _size(body: ExtrasBody, size: Size) -> tuple[Size, str]:
    """Return the requested size, and the field that it comes from."""
    if body.resize_mode:
        return (body.upscaling_resize_w, body.upscaling_resize_h), "upscaling_resize_w"
    width, height = (max(round(side * body.upscaling_resize), 1) for side in size)
    return (width, height), "upscaling_resize"


async def enlarge_to(
    ctx: AppContext,
    models: Models,
    name: str,
    image: Image.Image,
    size: Size,
    warnings: list[str],
    field: str,
    *,
    fit: bool = True,
) -> Image.Image:
    """Return an image enlarged by one upscaler, in its shape, to cover the size, and cropped to it.

    Args:
        ctx: Collaborators of the routes.
        models: The models of the server, as the request sees them.
        name: A filter, or a model that enlarges images.
        image: The image.
        size: The size.
        warnings: Receives the warnings.
        field: The field for the size, for the error.
        fit: Whether to crop; otherwise one side of the result may be longer.

    Raises:
        OctaboxError: The image becomes too large, or the model has failed.
    """
    scale = max(size[0] / image.width, size[1] / image.height)
    width, height = size if fit else (max(round(side * scale), 1) for side in image.size)
    check_output_size((width, height), ctx.settings.max_image_pixels, field)
    made = image if name in FILTERS else await run_model(ctx, models, name, image, warnings)
    filter_ = FILTERS.get(name, Image.Resampling.LANCZOS)
    if fit:
        # It crops first: the whole of a long image in this scale could be far larger than the size.
        return await asyncio.to_thread(ImageOps.fit, made, size, filter_)
    return await asyncio.to_thread(made.resize, (width, height), filter_)


async def run_model(
    ctx: AppContext,
    models: Models,
    name: str,
    image: Image.Image,
    warnings: list[str],
    params: Mapping[str, Any] = MappingProxyType({}),
) -> Image.Image:
    """Return what a model makes of an image.

    Args:
        ctx: Collaborators of the routes.
        models: The models of the server, as the request sees them.
        name: The model, which is chosen by what it does to an image.
        image: The image.
        warnings: Receives the warnings.
        params: Other call parameters.

    Raises:
        GenerationError: The model has made no image.
    """
    served = await asyncio.to_thread(models.resolve, name)
    source = source_parameter(served.pipeline)
    assert source is not None  # noqa: S101 (models without one are not listed)
    inputs = {source.name: (await asyncio.to_thread(encode_png, image),)}
    prompt = {"prompt": ""} if served.pipeline.parameter("prompt") else {}
    request = GenerationRequest(name, params={**prompt, **params}, inputs=inputs, output=OutputFormat("png"))
    generation = await ctx.generation.generate(request, models)
    made, left_out = first_output(generation.artifacts, "image")
    warnings += [*generation.warnings, *left_out]
    if made is None:
        raise GenerationError(f"The model '{name}' made no image.", model=name)
    with Image.open(io.BytesIO(made.content)) as opened:
        result: Image.Image = opened.convert("RGB")
        return result
