"""Render maps as images: depth, uncertainty, normals."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

#: Colours from the smallest to the largest value, evenly spaced, from dark blue (far) over purple to orange (near). The
#: lightness increases, so that the image is readable in grey too.
ANCHORS = np.array(
    [(8, 8, 40), (58, 16, 110), (124, 30, 118), (190, 52, 92), (236, 98, 52), (250, 168, 40), (252, 246, 180)]
)

#: Colour of values that are not finite.
UNKNOWN = (128, 128, 128)

#: Largest value of a channel.
MAX_CHANNEL = 255


def colorize_map(values: npt.NDArray[Any], *, near: str = "low") -> Image.Image:
    """Render a map as an image, scaled to its range, with warm colours for near values.

    Args:
        values: Array of any range, of shape (height, width). Values that are not finite become grey.
        near: Whether ``low`` values are near, as in depth, or ``high`` ones, as in disparity and uncertainty.
    """
    numbers = np.asarray(values, np.float64)
    known = np.isfinite(numbers)
    share = np.zeros(numbers.shape)
    if known.any():
        low, high = numbers[known].min(), numbers[known].max()
        # Halved, so that the range of the largest floats is finite.
        span = high / 2 - low / 2
        if span > 0:
            share[known] = (numbers[known] / 2 - low / 2) / span
    warmth = 1 - share if near == "low" else share
    positions = np.linspace(0, 1, len(ANCHORS))
    colours = np.stack([np.interp(warmth, positions, ANCHORS[:, channel]) for channel in range(3)], axis=-1)
    colours[~known] = UNKNOWN
    return Image.fromarray(np.rint(colours).astype(np.uint8))


def colorize_normals(values: npt.NDArray[Any]) -> Image.Image:
    """Render normals as an image: x as red, y as green, z as blue.

    Args:
        values: Array in [-1, 1], of shape (height, width, 3); values that are not finite become 0.
    """
    numbers = np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return Image.fromarray(np.rint((numbers.clip(-1, 1) + 1) / 2 * MAX_CHANNEL).astype(np.uint8))
