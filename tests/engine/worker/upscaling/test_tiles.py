"""Overlapping tiles and their blending."""

from itertools import pairwise

import pytest
import torch

from octabox.engine.worker.upscaling.tiles import blend_weights, tile_spans, upscale_tiles


@pytest.mark.parametrize("length", [*range(1, 40), 64, 257, 1000])
@pytest.mark.parametrize(("tile", "overlap"), [(0, 0), (8, 0), (8, 1), (8, 4), (9, 4), (16, 5), (256, 32)])
def test_tiles_cover_a_side(length: int, tile: int, overlap: int) -> None:
    """The tiles have one size, cover the side, and overlap by at least the minimum."""
    places = tile_spans(length, tile, overlap)

    assert (0, length) == (places[0][0], places[-1][1])
    assert {min(tile or length, length)} == {end - start for start, end in places}
    assert all(start < following <= end - overlap for (start, end), (following, _) in pairwise(places))


def test_there_are_no_more_tiles_than_needed() -> None:
    """A side that fits is one tile, and one more pixel needs two."""
    assert [(0, 256)] == tile_spans(256, 256, 32)
    assert [(0, 256), (1, 257)] == tile_spans(257, 256, 32)
    assert [(0, 256), (224, 480)] == tile_spans(480, 256, 32)
    assert 3 == len(tile_spans(481, 256, 32))


@pytest.mark.parametrize("length", [9, 13, 17, 30, 1000])
@pytest.mark.parametrize(("tile", "overlap"), [(8, 0), (8, 1), (8, 4), (9, 4)])
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_weights_sum_to_one(length: int, tile: int, overlap: int, scale: int) -> None:
    """The weights of each pixel sum to 1."""
    places = tile_spans(length, tile, overlap)
    total = torch.zeros(length * scale)
    for (start, end), weight in zip(places, blend_weights(places, overlap, scale), strict=True):
        total[start * scale : end * scale] += weight

    assert torch.allclose(torch.ones_like(total), total)


def test_edges_of_tiles_are_discarded() -> None:
    """A quarter of the overlap has no weight next to another tile, and full weight at the edge of the image."""
    first, last = blend_weights([(0, 32), (16, 48)], 16, 1)

    assert [0] * 4 == last[:4].tolist() == first[-4:].tolist()
    assert [1] * 4 == first[:4].tolist() == last[-4:].tolist()
    assert all(before < after for before, after in pairwise(last[3:12].tolist()))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (37, 53)])
@pytest.mark.parametrize(("tile", "overlap"), [(0, 0), (8, 0), (16, 4), (17, 8)])
def test_upscaled_tiles_are_joined(size: tuple[int, int], tile: int, overlap: int) -> None:
    """Tiles give the result without tiles, for images of any shape."""
    image = torch.randint(256, (3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    seen: list[tuple[int, ...]] = []

    def twice(part: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(part.shape[1:]))
        return part.repeat_interleave(2, 1).repeat_interleave(2, 2)

    places = tile_spans(size[0], tile, overlap), tile_spans(size[1], tile, overlap)
    made = upscale_tiles(image, 2, places, overlap, twice)

    assert torch.equal(image.repeat_interleave(2, 1).repeat_interleave(2, 2), made)
    assert len(places[0]) * len(places[1]) == len(seen)
    assert all(max(shape) <= tile for shape in seen if tile)


def test_tiles_are_blended() -> None:
    """There is a smooth gradient between a black tile and a white one."""
    shades = iter([0.0, 1.0])
    places = tile_spans(1, 0, 0), tile_spans(48, 32, 16)
    made = upscale_tiles(torch.zeros((3, 1, 48)), 1, places, 16, lambda part: torch.full_like(part, next(shades)))
    row = made[0, 0].int()

    assert [0] * 16 == row[:16].tolist()
    assert [255] * 16 == row[-16:].tolist()
    assert 0 < int(row.diff().max()) < 40
    assert 0 <= int(row.diff().min())


def test_values_are_clipped() -> None:
    """Values out of range are clipped."""
    made = upscale_tiles(
        torch.zeros((3, 1, 2)), 1, ([(0, 1)], [(0, 2)]), 0, lambda part: part + torch.tensor([-1.0, 2.0])
    )

    assert [0, 255] == made[0, 0].tolist()
