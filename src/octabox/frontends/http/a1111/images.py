"""Decode and resize the images and masks of requests."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from PIL import Image, ImageChops, ImageOps

from octabox.frontends.http.context import AppContext
from octabox.media.fetcher import decode_text
from octabox.media.limits import check_output_size
from octabox.media.regions import Padding, Size, binarize_mask, expand

#: Resize modes by number.
STRETCH, CROP, FILL, STRETCH_LATENTS = range(4)

#: The same by the names of the extension for ControlNets.
RESIZE_LABELS = ("Just Resize", "Crop and Resize", "Resize and Fill")
RESIZE_MODES = {label.casefold(): number for number, label in enumerate(RESIZE_LABELS)}

#: The same by the names of older versions of it, and of the members of its Python class.
RESIZE_ALIASES = {
    "resize": STRETCH,
    **dict.fromkeys(("inner fit", "inner fit (scale to fit)", "scale to fit (inner fit)"), CROP),
    **dict.fromkeys(("outer fit", "outer fit (shrink to fit)", "envelope (outer fit)"), FILL),
}


async def read_image(ctx: AppContext, text: str, field: str) -> Image.Image:
    """Return an image that is sent as base64 or as a data URI.

    Raises:
        MediaError: It cannot be decoded.
    """
    data = await asyncio.to_thread(decode_text, text, field)
    image = await ctx.decoder.decode("image", data, parameter=field)
    assert isinstance(image, Image.Image)  # noqa: S101 (of that kind)
    return image


async def read_mask(ctx: AppContext, text: str, *, is_rounded: bool = True) -> Image.Image:
    """Return a mask, white where the image is painted: where the file is white or, if it is transparent, where it is opaque.

    Raises:
        MediaError: It cannot be decoded.
    """
    data = await asyncio.to_thread(decode_text, text, "mask")
    transparency = await ctx.decoder.decode("transparency", data, parameter="mask")
    assert isinstance(transparency, Image.Image)  # noqa: S101 (of that kind)
    if transparency.getextrema()[1]:
        mask = ImageChops.invert(transparency)
    else:
        decoded = await ctx.decoder.decode("mask", data, parameter="mask")
        assert isinstance(decoded, Image.Image)  # noqa: S101 (likewise)
        mask = decoded
    return binarize_mask(mask) if is_rounded else mask


def resize(image: Image.Image, size: Size, mode: int) -> Image.Image:
    """Return an image or a mask at another size.

    Args:
        image: The image.
        size: The size.
        mode: `STRETCH` changes its shape, `CROP` cuts off its edges, `FILL` continues them.
    """
    if image.size == size:
        return image
    if mode in (STRETCH, STRETCH_LATENTS):
        filter_ = Image.Resampling.LANCZOS if mode == STRETCH else Image.Resampling.BILINEAR
        return image.resize(size, filter_)
    if mode == CROP:
        # It crops first: the whole of a long image in this scale could be far larger than the size.
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    scale = min(size[0] / image.width, size[1] / image.height)
    width, height = (max(1, round(side * scale)) for side in image.size)
    scaled = image.resize((width, height), Image.Resampling.LANCZOS)
    left, top = max((size[0] - width) // 2, 0), max((size[1] - height) // 2, 0)
    return expand(scaled, Padding(left, top, max(size[0] - width - left, 0), max(size[1] - height - top, 0))).crop(
        (0, 0, *size)
    )


def target_size(image: Image.Image, width: int | None, height: int | None, limit: int) -> Size:
    """Return the size of the result: that of the request, else that of the image.

    Raises:
        InvalidParameterError: It has too many pixels.
    """
    size = width or image.width, height or image.height
    check_output_size(size, limit, "width")
    return size


def join_grid(images: Sequence[Image.Image]) -> Image.Image:
    """Return images next to each other, in as many rows as columns, or fewer so that no place is empty, if possible."""
    rows = math.isqrt(len(images))
    rows = next((each for each in range(rows, 0, -1) if len(images) % each == 0), rows)
    columns = -(-len(images) // rows)
    width, height = (max(sides) for sides in zip(*(each.size for each in images), strict=True))
    grid = Image.new("RGB", (width * columns, height * rows))
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        grid.paste(image, (column * width, row * height))
    return grid
