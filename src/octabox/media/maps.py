"""Images of maps: of depth, of uncertainty, of directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

#: Colours from the least to the greatest value, evenly spaced. Each is lighter than the one before, so that the image can
#: be read without colours too; from dark blue (far) by purple and orange (near).
ANCHORS = np.array(
    [(8, 8, 40), (58, 16, 110), (124, 30, 118), (190, 52, 92), (236, 98, 52), (250, 168, 40), (252, 246, 180)]
)

#: What is no number.
UNKNOWN = (128, 128, 128)

#: The largest value of a channel.
FULL = 255


def colorize_map(values: npt.NDArray[Any], *, near: str = "low") -> Image.Image:
    """Return an image of a map, scaled to its own range, warm where it is near.

    Args:
        values: Numbers of any range, of shape (height, width). What is not finite becomes grey.
        near: Whether ``low`` values are near, as in depth, or ``high`` ones, as in disparity. What is uncertain is best
            seen with ``high`` too.
    """
    numbers = np.asarray(values, np.float64)
    known = np.isfinite(numbers)
    share = np.zeros(numbers.shape)
    if known.any():
        low, high = numbers[known].min(), numbers[known].max()
        # Halved, or the range of the largest numbers there are would be infinite.
        span = high / 2 - low / 2
        if span > 0:
            share[known] = (numbers[known] / 2 - low / 2) / span
    warmth = 1 - share if near == "low" else share
    places = np.linspace(0, 1, len(ANCHORS))
    colours = np.stack([np.interp(warmth, places, ANCHORS[:, channel]) for channel in range(3)], axis=-1)
    colours[~known] = UNKNOWN
    return Image.fromarray(np.rint(colours).astype(np.uint8))


def colorize_normals(values: npt.NDArray[Any]) -> Image.Image:
    """Return an image of directions: x as red, y as green, z as blue.

    Args:
        values: Numbers in [-1, 1], of shape (height, width, 3); what is not finite counts as 0.
    """
    numbers = np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return Image.fromarray(np.rint((numbers.clip(-1, 1) + 1) / 2 * FULL).astype(np.uint8))
