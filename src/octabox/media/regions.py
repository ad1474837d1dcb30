"""Crop masked regions, expand images, and paste results back without seams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

#: Left, top, right and bottom in pixels; the last two are exclusive.
Box = tuple[int, int, int, int]

#: Width and height in pixels.
Size = tuple[int, int]

#: Threshold of white mask pixels.
WHITE_THRESHOLD = 128

#: A neutral colour.
GRAY = (127, 127, 127)

#: Minimum share of visible pixels in a blur for its colour to be used; below it, eight bits are too coarse.
MIN_VISIBLE = 0.25


@dataclass(frozen=True)
class Padding:
    """Padding of an image on each side, in pixels."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


def blur_mask(mask: Image.Image, radius: float | Sequence[float]) -> Image.Image:
    """Blur the edges of a mask, with the radius of a Gaussian blur in pixels, or its radii across and down."""
    across, down = radius if isinstance(radius, Sequence) else (radius, radius)
    return mask.filter(ImageFilter.GaussianBlur((across, down))) if across or down else mask


def binarize_mask(mask: Image.Image) -> Image.Image:
    """Threshold a mask to black and white."""
    return mask.point(lambda value: 255 if value >= WHITE_THRESHOLD else 0)


def masked_region(mask: Image.Image, padding: int, target: Size) -> Box | None:
    """Return the region of an image with all mask pixels that are not black.

    Args:
        mask: The mask.
        padding: Padding around the mask in pixels.
        target: Size to which the region will be scaled: it is expanded to this aspect ratio, within the image.

    Returns:
        The region; None if the mask is black.
    """
    box = mask.getbbox()
    if box is None:
        return None
    left, right = max(box[0] - padding, 0), min(box[2] + padding, mask.width)
    top, bottom = max(box[1] - padding, 0), min(box[3] + padding, mask.height)
    width = max(right - left, round((bottom - top) * target[0] / target[1]))
    height = max(bottom - top, round((right - left) * target[1] / target[0]))
    left, right = _expand_interval(left, right, width, mask.width)
    top, bottom = _expand_interval(top, bottom, height, mask.height)
    return left, top, right, bottom


def _expand_interval(low: int, high: int, length: int, limit: int) -> tuple[int, int]:
    """Expand an interval to a length, within 0 and ``limit``."""
    length = min(length, limit)
    start = min(max(low - (length - (high - low)) // 2, 0), limit - length)
    return start, start + length


def expand(image: Image.Image, padding: Padding) -> Image.Image:
    """Expand an image by padding, filled with its edge pixels."""
    pixels = np.asarray(image)
    widths = ((padding.top, padding.bottom), (padding.left, padding.right)) + ((0, 0),) * (pixels.ndim - 2)
    return Image.fromarray(np.pad(pixels, widths, mode="edge"))


def outpaint_mask(size: Size, padding: Padding, inset: int = 0) -> Image.Image:
    """Return the mask of the area that `expand` adds to an image.

    Args:
        size: Width and height of the original image.
        padding: Padding of the image.
        inset: Pixels by which the mask overlaps the image, on padded sides.
    """
    width, height = size
    mask = Image.new("L", (width + padding.left + padding.right, height + padding.top + padding.bottom), 255)
    left, top = (side + inset if side else 0 for side in (padding.left, padding.top))
    right = padding.left + width - (inset if padding.right else 0)
    bottom = padding.top + height - (inset if padding.bottom else 0)
    if right > left and bottom > top:
        mask.paste(0, (left, top, right, bottom))
    return mask


def paste_back(image: Image.Image, patch: Image.Image, box: Box, alpha: Image.Image) -> Image.Image:
    """Paste an image patch over a region of an image.

    Args:
        image: The image.
        patch: The patch, which is scaled to the size of the region.
        box: The region.
        alpha: Opacity of the patch, of the size of the image; pixels with 0 do not change.
    """
    size = (box[2] - box[0], box[3] - box[1])
    scaled = patch if patch.size == size else patch.resize(size, Image.Resampling.LANCZOS)
    result = image.copy()
    result.paste(scaled, box[:2], alpha.crop(box))
    return result


def fill_masked(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Fill the masked area of an image with the colours around it, weighted by distance."""
    hidden = np.asarray(mask) >= WHITE_THRESHOLD
    if not hidden.any() or hidden.all():
        return image
    pixels = np.asarray(image, np.float32)
    visible = Image.fromarray(np.where(hidden, 0, 255).astype(np.uint8))
    clear = Image.new("RGB", image.size)
    clear.paste(image, mask=visible)
    filled = np.broadcast_to(pixels[~hidden].mean(axis=0), pixels.shape)
    radius = max(image.size) / 2
    while radius >= 1:
        # A finer blur replaces the coarser one wherever enough of its pixels are visible.
        colours = np.asarray(clear.filter(ImageFilter.GaussianBlur(radius)), np.float32)
        share = np.asarray(visible.filter(ImageFilter.GaussianBlur(radius)), np.float32)[..., None] / 255
        filled = np.where(share >= MIN_VISIBLE, colours / np.maximum(share, MIN_VISIBLE), filled)
        radius /= 2
    result = np.where(hidden[..., None], filled.clip(0, 255), pixels)
    return Image.fromarray(result.round().astype(np.uint8))


def fill_with_noise(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Fill the masked area of an image with noise, the same for each image of a size."""
    noise = np.random.default_rng(0).integers(0, 256, (image.height, image.width, 3), np.uint8)
    return Image.composite(Image.fromarray(noise), image, binarize_mask(mask))


def fill_with_gray(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Fill the masked area of an image with gray."""
    return Image.composite(Image.new("RGB", image.size, GRAY), image, binarize_mask(mask))
