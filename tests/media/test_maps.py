"""Images of maps."""

import numpy as np
import pytest

from octabox.media.maps import ANCHORS, UNKNOWN, colorize_map, colorize_normals

RAMP = np.linspace(3, 7, 64, dtype=np.float32).reshape(1, 64).repeat(4, axis=0)


def test_near_is_warm() -> None:
    """The least depth has the warmest colour, the greatest the coldest, at any scale."""
    image = colorize_map(RAMP)

    assert ("RGB", (64, 4)) == (image.mode, image.size)
    assert tuple(ANCHORS[-1]) == image.getpixel((0, 0))
    assert tuple(ANCHORS[0]) == image.getpixel((63, 0))


def test_high_may_be_near() -> None:
    """Disparity grows towards the camera."""
    assert np.array_equal(np.asarray(colorize_map(RAMP)), np.asarray(colorize_map(RAMP, near="high"))[:, ::-1])


def test_the_image_reads_without_colours() -> None:
    """Lightness falls with every step away, and no two depths look the same."""
    lightness = np.asarray(colorize_map(RAMP).convert("L"), int)[0]

    assert (np.diff(lightness) <= 0).all()
    assert len({tuple(pixel) for pixel in np.asarray(colorize_map(RAMP))[0]}) == 64


def test_what_is_no_number_is_grey() -> None:
    """NaN and infinity have a colour of their own, and do not change the others."""
    holed = RAMP.copy()
    holed[1:, 10], holed[1:, 20], holed[1:, 30] = np.nan, np.inf, -np.inf
    image = colorize_map(holed)

    assert np.array_equal(np.asarray(colorize_map(RAMP))[0], np.asarray(image)[0])
    assert {UNKNOWN} == {image.getpixel((x, 2)) for x in (10, 20, 30)}


@pytest.mark.parametrize("value", [0.0, 5.0, float("nan"), 3e38])
def test_a_flat_map(value: float) -> None:
    """A map of one value is an image of one colour."""
    assert 1 == len(colorize_map(np.full((3, 3), value)).getcolors() or ())


def test_the_largest_numbers() -> None:
    """A range that no number can hold is still a range."""
    most = np.finfo(np.float64).max

    assert tuple(ANCHORS[-1]) == colorize_map(np.array([[-most, most]])).getpixel((0, 0))


def test_normals() -> None:
    """Each axis is a channel; what is no number is the middle."""
    directions = np.array([[[1, -1, 0], [np.nan, 5, np.inf]]])

    assert [[[255, 0, 128], [128, 255, 128]]] == np.asarray(colorize_normals(directions)).tolist()
