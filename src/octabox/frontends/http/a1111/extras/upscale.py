"""Enlarge images by filters and models, as the web UI's tab for it does."""

from __future__ import annotations

import asyncio

from PIL import Image, ImageOps

from octabox.frontends.http.a1111.extras.runs import ModelRuns
from octabox.frontends.http.a1111.extras.schema import ExtrasBody
from octabox.frontends.http.a1111.upscalers import find_upscaler
from octabox.media.limits import check_output_size
from octabox.media.regions import Size
from octabox.service.workflows.resize import FILTERS


async def enlarge(runs: ModelRuns, body: ExtrasBody, image: Image.Image) -> Image.Image:
    """Return an enlarged image; unchanged without an upscaler.

    Args:
        runs: Runs the models.
        body: The fields.
        image: The image.

    Raises:
        OctaboxError: There is no such upscaler, the result is too large, or the model has failed.
    """
    size, field = _size(body, image.size)
    fit = body.resize_mode == 0 or body.upscaling_crop
    names = [
        await asyncio.to_thread(find_upscaler, runs.models, getattr(body, field), field)
        for field in ("upscaler_1", "upscaler_2")
    ]
    if names[0] is None:
        return image
    first = await enlarge_to(runs, names[0], image, size, field, fit=fit)
    if names[1] is None or not body.extras_upscaler_2_visibility:
        return first
    second = await enlarge_to(runs, names[1], image, size, field, fit=fit)
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
    runs: ModelRuns, name: str, image: Image.Image, size: Size, field: str, *, fit: bool = True
) -> Image.Image:
    """Return an image enlarged by one upscaler, in its shape, to cover the size, and cropped to it.

    Args:
        runs: Runs the models.
        name: A filter, or a model that enlarges images.
        image: The image.
        size: The size.
        field: The field for the size, for the error.
        fit: Whether to crop; otherwise one side of the result may be longer.

    Raises:
        OctaboxError: The image becomes too large, or the model has failed.
    """
    scale = max(size[0] / image.width, size[1] / image.height)
    width, height = size if fit else (max(round(side * scale), 1) for side in image.size)
    check_output_size((width, height), runs.ctx.settings.max_image_pixels, field)
    made = image if name in FILTERS else await runs.run(name, image)
    filter_ = FILTERS.get(name, Image.Resampling.LANCZOS)
    if fit:
        # It crops first: the whole of a long image in this scale could be far larger than the size.
        return await asyncio.to_thread(ImageOps.fit, made, size, filter_)
    return await asyncio.to_thread(made.resize, (width, height), filter_)
