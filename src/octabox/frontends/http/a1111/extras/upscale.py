"""Enlarge images by filters and models, as the web UI's tab for it does."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator

from PIL import Image

from octabox.errors import GenerationError, InvalidParameterError
from octabox.frontends.http.a1111.extras.schema import ExtrasBody
from octabox.frontends.http.a1111.images import CROP, resize
from octabox.frontends.http.a1111.upscalers import enlarging_models, find_upscaler
from octabox.frontends.http.context import AppContext
from octabox.media.images import encode_png
from octabox.media.regions import Size
from octabox.service.selection.inputs import source_parameter
from octabox.service.workflows.resize import FILTERS
from octabox.types import GenerationRequest, OutputFormat


async def enlarge(ctx: AppContext, body: ExtrasBody, image: Image.Image) -> Image.Image:
    """Return an enlarged image; unchanged without an upscaler.

    Raises:
        OctaboxError: There is no such upscaler, the result is too large, or the model has failed.
    """
    size = _size(body, image.size, ctx.settings.max_image_pixels)
    names = [
        await asyncio.to_thread(find_upscaler, ctx.models, getattr(body, field), field)
        for field in ("upscaler_1", "upscaler_2")
    ]
    if names[0] is None:
        return image
    first = await _enlarged(ctx, names[0], image, size, body)
    if names[1] is None or not body.extras_upscaler_2_visibility:
        return first
    second = await _enlarged(ctx, names[1], image, size, body)
    if second.size != first.size:
        second = second.resize(first.size, Image.Resampling.LANCZOS)
    return await asyncio.to_thread(Image.blend, first, second, body.extras_upscaler_2_visibility)


def _size(body: ExtrasBody, size: Size, limit: int) -> Size:
    """Return the size of the result.

    Raises:
        InvalidParameterError: It exceeds the limit.
    """
    target = round(size[0] * body.upscaling_resize), round(size[1] * body.upscaling_resize)
    if body.resize_mode:
        target = body.upscaling_resize_w, body.upscaling_resize_h
    if target[0] * target[1] > limit:
        raise InvalidParameterError(
            f"An image of {target[0]}x{target[1]} exceeds the limit of {limit} pixels.",
            hint="Request a smaller one, or raise `max_image_pixels`.",
            parameter="upscaling_resize",
        )
    return max(target[0], 1), max(target[1], 1)


async def _enlarged(ctx: AppContext, name: str, image: Image.Image, size: Size, body: ExtrasBody) -> Image.Image:
    """Return an image enlarged by one upscaler: to a size with its shape, then cropped to the exact size."""
    scale = max(size[0] / image.width, size[1] / image.height)
    if body.resize_mode and not body.upscaling_crop:
        scale = min(size[0] / image.width, size[1] / image.height)
    target = round(image.width * scale), round(image.height * scale)
    if name in FILTERS:
        made = await asyncio.to_thread(image.resize, target, FILTERS[name])
    else:
        made = (await _by_model(ctx, name, image)).resize(target, Image.Resampling.LANCZOS)
    is_exact = body.resize_mode == 0 or body.upscaling_crop
    return await asyncio.to_thread(resize, made, size, CROP) if is_exact else made


async def _by_model(ctx: AppContext, name: str, image: Image.Image) -> Image.Image:
    """Return an image enlarged by a model.

    Raises:
        GenerationError: The model has made no image.
    """
    source = source_parameter(enlarging_models(ctx.models)[name])
    assert source is not None  # noqa: S101 (the list has only models with one)
    inputs = {source.name: (await asyncio.to_thread(encode_png, image),)}
    request = GenerationRequest(name, optional_params={"prompt": ""}, inputs=inputs, output=OutputFormat("png"))
    generation = await ctx.generation.generate(request)
    made = next((each for each in generation.artifacts if each.kind == "image"), None)
    if made is None:
        raise GenerationError(f"The model '{name}' made no image.", model=name)
    with Image.open(io.BytesIO(made.content)) as opened:
        enlarged: Image.Image = opened.convert("RGB")
        return enlarged


def warnings_of(body: ExtrasBody) -> Iterator[str]:
    """Yield a warning for each field without effect."""
    for name in ("gfpgan_visibility", "codeformer_visibility"):
        if getattr(body, name):
            yield f"'{name}' has no effect: 'restore_faces' of txt2img and img2img restores faces."
    for name in body.unknown:
        yield f"'{name[:60]}' has no effect: there is no such field."
