"""Regions of images: cut out, widened, filled, and laid back without a trace outside."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from octabox.media.regions import (
    Box,
    Padding,
    Size,
    binarize_mask,
    blur_mask,
    expand,
    fill_masked,
    fill_with_gray,
    fill_with_noise,
    masked_region,
    outpaint_mask,
    paste_back,
)


def mask(box: Box, size: Size = (100, 80)) -> Image.Image:
    """Return a mask that is white in a box; its last two sides are outside."""
    made = Image.new("L", size)
    made.paste(255, box)
    return made


def noise(size: Size = (100, 80)) -> Image.Image:
    """Return an image without a plain spot."""
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), np.uint8))


@pytest.mark.parametrize(
    ("box", "padding", "target", "region"),
    [
        ((40, 30, 60, 50), 0, (64, 64), (40, 30, 60, 50)),
        ((40, 30, 60, 50), 10, (64, 64), (30, 20, 70, 60)),
        ((40, 30, 60, 50), 0, (128, 64), (30, 30, 70, 50)),
        ((40, 30, 60, 50), 0, (64, 128), (40, 20, 60, 60)),
        ((0, 0, 10, 10), 5, (100, 100), (0, 0, 15, 15)),
        ((90, 70, 100, 80), 0, (200, 100), (80, 70, 100, 80)),
        ((0, 0, 100, 10), 0, (64, 64), (0, 0, 100, 80)),
    ],
)
def test_a_region_has_the_proportions_of_what_it_becomes(box: Box, padding: int, target: Size, region: Box) -> None:
    """It holds the mask and its padding, lies within the image, and is widened as far as that reaches."""
    assert region == masked_region(mask(box), padding, target)


def test_a_black_mask_has_no_region() -> None:
    """There is nothing to cut out."""
    assert masked_region(Image.new("L", (8, 8)), 4, (8, 8)) is None


def test_what_is_laid_back_changes_nothing_outside() -> None:
    """Where the mask is black each pixel stays; where it is white the piece is seen; between them both."""
    image, alpha = noise(), blur_mask(mask((40, 30, 60, 50)), 3)
    box = masked_region(alpha, 4, (64, 64))
    assert box is not None
    made = np.asarray(paste_back(image, Image.new("RGB", (64, 64), (255, 0, 0)), box, alpha), int)
    share = np.asarray(alpha)

    assert np.array_equal(made[share == 0], np.asarray(image)[share == 0])
    assert (255, 0, 0) == tuple(made[40, 50])
    assert 0 < (share > 0).sum() - (share == 255).sum()


def test_a_widened_image_keeps_its_own_pixels() -> None:
    """Its edges are drawn out into the new room, which the mask tells."""
    image, sides = noise(), Padding(left=10, bottom=6)
    wide, room = expand(image, sides), np.asarray(outpaint_mask(image.size, sides))

    assert (110, 86) == wide.size == (room.shape[1], room.shape[0])
    assert np.array_equal(np.asarray(wide)[:80, 10:], np.asarray(image))
    assert np.array_equal(np.asarray(wide)[40, 0], np.asarray(image)[40, 0])
    assert (255, 255, 0) == (room[0, 9], room[80, 50], room[79, 10])


def test_the_mask_of_new_room_reaches_in_on_those_sides_alone() -> None:
    """Where nothing is added there is no seam to hide."""
    room = np.asarray(outpaint_mask((100, 80), Padding(left=10), inset=8))

    assert (255, 0) == (room[40, 17], room[40, 18])
    assert 0 == room[40, -1] == room[0, 50]


def test_a_mask_reaches_in_no_further_than_through() -> None:
    """An image that is smaller than the seam is painted whole."""
    assert 255 == np.asarray(outpaint_mask((10, 10), Padding(left=4, right=4), inset=30)).min()


def test_colours_around_fill_what_is_masked() -> None:
    """Each half of a hole takes the colour that is near it, and nothing else changes."""
    image = Image.new("RGB", (100, 80), (200, 0, 0))
    image.paste((0, 0, 200), (50, 0, 100, 80))
    ImageDraw.Draw(image).rectangle((30, 20, 69, 59), fill=(0, 255, 0))
    hole = mask((30, 20, 70, 60))
    filled = np.asarray(fill_masked(image, hole), int)
    inside = np.asarray(hole) > 0

    assert filled[inside][:, 1].max() < 10
    assert filled[40, 33, 0] > 150
    assert filled[40, 66, 0] < 50
    assert np.array_equal(filled[~inside], np.asarray(image)[~inside])


@pytest.mark.parametrize("shade", [0, 255])
def test_there_may_be_no_colours_around(shade: int) -> None:
    """With nothing masked, or all, the image stays."""
    image = noise()

    assert image.tobytes() == fill_masked(image, Image.new("L", image.size, shade)).tobytes()


def test_a_mask_becomes_black_and_white() -> None:
    """From half on it is white."""
    assert [0, 255] == list(np.unique(np.asarray(binarize_mask(blur_mask(mask((40, 30, 60, 50)), 5)))))


def test_noise_and_gray_fill_the_mask_alone() -> None:
    """The noise is the same each time; what is not masked does not change."""
    image, right = Image.new("RGB", (8, 8), "red"), mask((4, 0, 8, 8), (8, 8))
    noise, again, gray = fill_with_noise(image, right), fill_with_noise(image, right), fill_with_gray(image, right)

    assert noise.tobytes() == again.tobytes() != gray.tobytes()
    assert (127, 127, 127) == gray.getpixel((6, 3))
    assert all(image.crop((0, 0, 4, 8)).tobytes() == each.crop((0, 0, 4, 8)).tobytes() for each in (noise, gray))


def test_a_blur_has_two_radii() -> None:
    """That across leaves the edges above and below as they are, and the other way round."""
    sharp = mask((40, 30, 60, 50))
    across, down = (np.asarray(blur_mask(sharp, each)) for each in ([4, 0], [0, 4]))
    half = np.asarray(blur_mask(sharp, [4, 4])), np.asarray(blur_mask(sharp, 4))

    assert np.ptp(across[29]) == np.ptp(down[:, 39]) == 0
    assert 0 < across[40, 38] < 255
    assert 0 < down[28, 50] < 255
    assert np.array_equal(*half)
    assert sharp is blur_mask(sharp, [0, 0])
