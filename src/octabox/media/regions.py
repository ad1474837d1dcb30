"""Cut a region out of an image, widen an image, and lay what was made of them back without a seam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

#: Left, top, right and bottom, in pixels; the last two are outside.
Box = tuple[int, int, int, int]

#: Width and height in pixels.
Size = tuple[int, int]

#: Pixels of a mask from which on they count as white.
WHITE_FROM = 128

#: Share of a blur's surroundings that must be seen for its colour to be taken; with less, eight bits are too coarse.
ENOUGH = 0.25


@dataclass(frozen=True)
class Padding:
    """How far an image is widened, in pixels."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


def blur_mask(mask: Image.Image, radius: float) -> Image.Image:
    """Return a mask with soft edges; the radius is that of a Gaussian blur in pixels."""
    return mask.filter(ImageFilter.GaussianBlur(radius)) if radius else mask


def binarize_mask(mask: Image.Image) -> Image.Image:
    """Return a mask of pure black and white."""
    return mask.point(lambda value: 255 if value >= WHITE_FROM else 0)


def masked_region(mask: Image.Image, padding: int, target: Size) -> Box | None:
    """Return the part of an image that holds all of a mask that is not black.

    Args:
        mask: The mask.
        padding: Pixels of the image that are to be seen around it.
        target: Size that the region will be brought to: it is widened to these proportions, as far as the image reaches.

    Returns:
        The region, or None where the mask is black.
    """
    box = mask.getbbox()
    if box is None:
        return None
    left, right = max(box[0] - padding, 0), min(box[2] + padding, mask.width)
    top, bottom = max(box[1] - padding, 0), min(box[3] + padding, mask.height)
    width = max(right - left, round((bottom - top) * target[0] / target[1]))
    height = max(bottom - top, round((right - left) * target[1] / target[0]))
    left, right = _widened(left, right, width, mask.width)
    top, bottom = _widened(top, bottom, height, mask.height)
    return left, top, right, bottom


def _widened(low: int, high: int, length: int, most: int) -> tuple[int, int]:
    """Return a stretch of this length around another, within 0 and ``most``."""
    length = min(length, most)
    start = min(max(low - (length - (high - low)) // 2, 0), most - length)
    return start, start + length


def expand(image: Image.Image, sides: Padding) -> Image.Image:
    """Return an image with more room around it, into which its edges are drawn out."""
    pixels = np.asarray(image)
    room = ((sides.top, sides.bottom), (sides.left, sides.right)) + ((0, 0),) * (pixels.ndim - 2)
    return Image.fromarray(np.pad(pixels, room, mode="edge"))


def outpaint_mask(size: Size, sides: Padding, inset: int = 0) -> Image.Image:
    """Return the mask of what `expand` adds to an image of this size.

    Args:
        size: Width and height before.
        sides: How far it is widened.
        inset: Pixels by which the mask reaches into the image, on the sides that are widened.
    """
    width, height = size
    mask = Image.new("L", (width + sides.left + sides.right, height + sides.top + sides.bottom), 255)
    left, top = (given + inset if given else 0 for given in (sides.left, sides.top))
    right = sides.left + width - (inset if sides.right else 0)
    bottom = sides.top + height - (inset if sides.bottom else 0)
    if right > left and bottom > top:
        mask.paste(0, (left, top, right, bottom))
    return mask


def paste_back(image: Image.Image, piece: Image.Image, box: Box, alpha: Image.Image) -> Image.Image:
    """Return an image with a piece laid over a region of it.

    Args:
        image: The whole image.
        piece: What is to be laid over it; it is brought to the region's size.
        box: The region.
        alpha: How much of the piece is to be seen, of the whole image's size; where it is 0, no pixel changes.
    """
    size = (box[2] - box[0], box[3] - box[1])
    fitted = piece if piece.size == size else piece.resize(size, Image.Resampling.LANCZOS)
    made = image.copy()
    made.paste(fitted, box[:2], alpha.crop(box))
    return made


def fill_masked(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Return an image whose masked part is filled with the colours around it, the nearer the more."""
    hidden = np.asarray(mask) >= WHITE_FROM
    if not hidden.any() or hidden.all():
        return image
    pixels = np.asarray(image, np.float32)
    seen = Image.fromarray(np.where(hidden, 0, 255).astype(np.uint8))
    clear = Image.new("RGB", image.size)
    clear.paste(image, mask=seen)
    filled = np.broadcast_to(pixels[~hidden].mean(axis=0), pixels.shape)
    radius = max(image.size) / 2
    while radius >= 1:
        # A finer blur lies over the coarser one wherever enough of what it mixes is seen.
        colours = np.asarray(clear.filter(ImageFilter.GaussianBlur(radius)), np.float32)
        share = np.asarray(seen.filter(ImageFilter.GaussianBlur(radius)), np.float32)[..., None] / 255
        filled = np.where(share >= ENOUGH, colours / np.maximum(share, ENOUGH), filled)
        radius /= 2
    whole = np.where(hidden[..., None], filled.clip(0, 255), pixels)
    return Image.fromarray(whole.round().astype(np.uint8))
