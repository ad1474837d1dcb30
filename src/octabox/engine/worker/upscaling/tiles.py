"""Cut an image into tiles that overlap, and blend what is made of them without a seam."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch

#: Share of an overlap, at the edge of a tile, that is looked at and not used: there a network does not see what follows.
UNUSED = 0.25


def spans(length: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Return where the tiles along one side begin and end: as few as will do, of one size, evenly spread.

    Args:
        length: Pixels of the side.
        tile: Pixels of a tile; 0 for a single one.
        overlap: Pixels that two neighbours share at the least, fewer than ``tile``.
    """
    if not 0 < tile < length:
        return [(0, length)]
    count = math.ceil((length - overlap) / (tile - overlap))
    starts = [round(index * (length - tile) / (count - 1)) for index in range(count)]
    return [(start, start + tile) for start in starts]


def weights(places: list[tuple[int, int]], overlap: int, scale: int) -> list[torch.Tensor]:
    """Return how much each pixel counts that is made of each tile along one side; all that are made of one pixel add up to 1.

    Args:
        places: Where the tiles are.
        overlap: Pixels that two neighbours share at the least.
        scale: How many pixels are made of one.
    """
    size = (places[0][1] - places[0][0]) * scale
    unused = overlap * scale * UNUSED
    # The first pixel's middle is half a pixel from the edge.
    rise = (torch.arange(size) + 0.5 - unused) / max(overlap * scale - 2 * unused, 1)
    rise = rise.clamp(0, 1)
    total = torch.zeros(places[-1][1] * scale)
    found = []
    for index, (start, end) in enumerate(places):
        weight = torch.ones(size)
        weight = torch.minimum(weight, rise) if index else weight
        weight = torch.minimum(weight, rise.flip(0)) if index < len(places) - 1 else weight
        total[start * scale : end * scale] += weight
        found.append(weight)
    return [weight / total[start * scale : end * scale] for weight, (start, end) in zip(found, places, strict=True)]


def enlarged(
    image: torch.Tensor,
    scale: int,
    places: tuple[list[tuple[int, int]], list[tuple[int, int]]],
    overlap: int,
    make: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Return an image made of its tiles, row by row, so that no more than a row of them is held in full precision.

    Args:
        image: Numbers in 0 to 255, (3, height, width).
        scale: How many times larger the result is.
        places: Where the tiles are, from top to bottom and from left to right.
        overlap: Pixels that two neighbours share at the least.
        make: Makes of a tile, (3, height, width) in [0, 1], one that is so many times larger, on the processor.
    """
    rows, columns = places
    height, width = image.shape[1] * scale, image.shape[2] * scale
    made = torch.empty((3, height, width), dtype=torch.uint8)
    vertical, horizontal = weights(rows, overlap, scale), weights(columns, overlap, scale)
    left = torch.zeros((3, 0, width))
    ends = [*(following for _, (following, _) in pairwise(rows)), image.shape[1]]
    for (top, bottom), end, weight in zip(rows, ends, vertical, strict=True):
        strip = torch.zeros((3, (bottom - top) * scale, width))
        for (start, stop), share in zip(columns, horizontal, strict=True):
            tile = make(image[:, top:bottom, start:stop] / 255)
            strip[:, :, start * scale : stop * scale] += tile * share
        strip *= weight[:, None]
        strip[:, : left.shape[1]] += left
        done = (end - top) * scale
        made[:, top * scale : end * scale] = (strip[:, :done] * 255).round().clamp(0, 255).to(torch.uint8)
        left = strip[:, done:].clone()
    return made
