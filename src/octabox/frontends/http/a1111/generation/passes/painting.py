"""The images and the mask of ``img2img``: resized, and what of them is painted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from octabox.frontends.http.a1111.generation.parsed import ParsedRequest, with_inputs, with_params, with_warnings
from octabox.frontends.http.a1111.generation.schema import ImageToImageBody
from octabox.frontends.http.a1111.generation.translate import image_params, mask_blur
from octabox.frontends.http.a1111.images import STRETCH_LATENTS, read_mask, resize, target_size
from octabox.frontends.http.context import AppContext
from octabox.media.images import encode_png
from octabox.media.regions import Size

#: The sides of an image.
SIDES = ("width", "height")

#: Settings of a workflow by the number of ``inpainting_fill``.
FILLS = ("surroundings", "original", "latent-noise", "latent-blank")


async def prepared(
    ctx: AppContext, body: ImageToImageBody, parsed: ParsedRequest, images: Sequence[Image.Image]
) -> tuple[ParsedRequest, list[Image.Image], tuple[bytes, ...]]:
    """Return a request with its size, strength and mask, its resized images, and the mask of each."""
    width, height = (getattr(body, name) if body.has(name) else None for name in SIDES)
    limit = ctx.settings.max_image_pixels
    sizes = [target_size(each, width, height, limit) for each in images]
    is_region = body.mask is not None and body.mask != "" and body.inpaint_full_res
    prepared = list(images)
    if not is_region:
        pairs = zip(images, sizes, strict=True)
        prepared = [await asyncio.to_thread(resize, each, size, body.resize_mode) for each, size in pairs]
    params = image_params(body, parsed.target)
    if (width or height) and parsed.target.takes(*SIDES):
        params |= dict(zip(SIDES, sizes[0], strict=True))
    warnings = []
    if body.resize_mode == STRETCH_LATENTS:
        warnings.append("'resize_mode' 3 resizes the image, not its latents.")
    parsed = with_warnings(with_params(parsed, optional_params=params), *warnings)
    masks: tuple[bytes, ...] = ()
    if body.mask:
        masks = await _masks(ctx, body, images, None if is_region else sizes)
        parsed = _with_mask(body, parsed, masks[0], is_region=is_region)
    return parsed, prepared, masks


async def _masks(
    ctx: AppContext, body: ImageToImageBody, images: Sequence[Image.Image], sizes: Sequence[Size] | None
) -> tuple[bytes, ...]:
    """Return the mask for each image, of its size.

    Args:
        ctx: Collaborators of the routes.
        body: The body.
        images: The images, before they are resized.
        sizes: The sizes that they are resized to; None for a request that paints a region of each.
    """
    assert body.mask is not None  # noqa: S101 (the caller has checked it)
    mask = await read_mask(ctx, body.mask, is_rounded=body.mask_round)
    places = [(image.size, sizes[index] if sizes else image.size) for index, image in enumerate(images)]

    def scaled(before: Size, after: Size) -> bytes:
        return encode_png(resize(mask if mask.size == before else mask.resize(before), after, body.resize_mode))

    made = {place: await asyncio.to_thread(scaled, *place) for place in dict.fromkeys(places)}
    return tuple(made[place] for place in places)


def _with_mask(body: ImageToImageBody, parsed: ParsedRequest, mask: bytes, *, is_region: bool) -> ParsedRequest:
    """Return a request that paints a mask only."""
    part = {
        "area": "masked" if is_region else "whole",
        "padding": body.inpaint_full_res_padding if is_region else None,
        "mask_blur": mask_blur(body),
        "fill": FILLS[body.inpainting_fill],
        "invert": bool(body.inpainting_mask_invert),
    }
    workflow = {**parsed.request.workflow, "inpaint": part}
    parsed = replace(parsed, request=replace(parsed.request, workflow=workflow))
    return with_inputs(parsed, {parsed.target.mask: (mask,)})
