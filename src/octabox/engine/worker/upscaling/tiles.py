"""Split an image into overlapping tiles, and blend the upscaled tiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch

#: The start and end of each tile along one side.
Spans = list[tuple[int, int]]

#: Part of an overlap, at the edge of a tile, that is discarded: there the network lacks context.
DISCARDED = 0.25


def tile_spans(length: int, tile: int, overlap: int) -> Spans:
    """Return the spans of tiles along one side: as few as possible, of equal size, evenly spaced.

    Args:
        length: The size of the side in pixels.
        tile: The size of a tile; 0 for a single one.
        overlap: The minimum overlap of two tiles, less than ``tile``.
    """
    if not 0 < tile < length:
        return [(0, length)]
    count = math.ceil((length - overlap) / (tile - overlap))
    starts = [round(index * (length - tile) / (count - 1)) for index in range(count)]
    return [(start, start + tile) for start in starts]


def blend_weights(spans: Spans, overlap: int, scale: int) -> list[torch.Tensor]:
    """Return the weight of each upscaled pixel of each tile along one side; the weights of a pixel sum to 1.

    Args:
        spans: The spans of the tiles.
        overlap: The minimum overlap of two tiles.
        scale: The upscaling factor.
    """
    size = (spans[0][1] - spans[0][0]) * scale
    discarded = overlap * scale * DISCARDED
    # The centre of the first pixel is half a pixel from the edge.
    rise = (torch.arange(size) + 0.5 - discarded) / max(overlap * scale - 2 * discarded, 1)
    rise = rise.clamp(0, 1)
    total = torch.zeros(spans[-1][1] * scale)
    found = []
    for index, (start, end) in enumerate(spans):
        weight = torch.ones(size)
        weight = torch.minimum(weight, rise) if index else weight
        weight = torch.minimum(weight, rise.flip(0)) if index < len(spans) - 1 else weight
        total[start * scale : end * scale] += weight
        found.append(weight)
    return [weight / total[start * scale : end * scale] for weight, (start, end) in zip(found, spans, strict=True)]


def upscale_tiles(
    image: torch.Tensor,
    scale: int,
    spans: tuple[Spans, Spans],
    overlap: int,
    upscale: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Return an image upscaled by tiles, row by row, so that only one row of tiles is held in full precision.

    Args:
        image: Pixels in [0, 255], of shape (3, height, width).
        scale: The upscaling factor.
        spans: The spans of the rows and of the columns.
        overlap: The minimum overlap of two tiles.
        upscale: Upscales a tile in [0, 1], of shape (3, height, width), and returns it on the CPU.
    """
    rows, columns = spans
    height, width = image.shape[1] * scale, image.shape[2] * scale
    upscaled = torch.empty((3, height, width), dtype=torch.uint8)
    row_weights, column_weights = blend_weights(rows, overlap, scale), blend_weights(columns, overlap, scale)
    rest = torch.zeros((3, 0, width))
    ends = [*(following for _, (following, _) in pairwise(rows)), image.shape[1]]
    for (top, bottom), end, row_weight in zip(rows, ends, row_weights, strict=True):
        strip = torch.zeros((3, (bottom - top) * scale, width))
        for (start, stop), weight in zip(columns, column_weights, strict=True):
            strip[:, :, start * scale : stop * scale] += upscale(image[:, top:bottom, start:stop] / 255) * weight
        strip *= row_weight[:, None]
        strip[:, : rest.shape[1]] += rest
        done = (end - top) * scale
        upscaled[:, top * scale : end * scale] = (strip[:, :done] * 255).round().clamp(0, 255).to(torch.uint8)
        rest = strip[:, done:].clone()
    return upscaled
