"""Arrays of all usual layouts and value ranges become images, videos and audios."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from octabox.engine.worker.outputs.numbers import (
    describe_nonfinite,
    is_image_batch,
    is_linear_light,
    split_audios,
    split_videos,
    to_numpy,
    to_pil,
    to_pil_images,
    to_uint8,
)

Array = npt.NDArray[Any]

#: Sides of images; no axis of theirs is as short as channels are.
HEIGHT, WIDTH = 6, 8


def video(frames: int, channels: int) -> Array:
    """Return a video whose values identify frame and channel, with the channels last."""
    numbers = np.arange(frames * channels).reshape(frames, 1, 1, channels)
    return np.broadcast_to(numbers, (frames, HEIGHT, WIDTH, channels)).astype(np.uint8)


def test_half_precision_becomes_float32() -> None:
    """Numpy has no bfloat16, and few programs read float16; integers and booleans are kept."""
    half = torch.tensor([0.5, 1.5], dtype=torch.bfloat16, requires_grad=True)

    assert np.float32 == to_numpy(half).dtype
    assert [0.5, 1.5] == to_numpy(half).tolist()
    assert np.float32 == to_numpy(np.zeros(2, np.float16)).dtype
    assert np.int64 == to_numpy(torch.tensor([1, 2])).dtype
    assert np.bool_ == to_numpy(torch.tensor([True])).dtype


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("frames", [2, 5, 9])
@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 0, 1, 2)])
def test_the_channels_of_a_video_are_found(axes: tuple[int, ...], frames: int, channels: int) -> None:
    """Frames are equal, whether the channels are last, after the frames or before them."""
    expected = video(frames, channels)
    (found,) = split_videos(expected.transpose(axes))

    assert np.array_equal(expected, found)


@pytest.mark.parametrize("axes", [(0, 3, 1, 2), (3, 0, 1, 2)])
@pytest.mark.parametrize("frames", [1, 4])
def test_three_channels_are_preferred(axes: tuple[int, ...], frames: int) -> None:
    """In a video with as many frames as an image may have channels, the axis of three is that of the channels."""
    expected = video(frames, 3)
    (found,) = split_videos(expected.transpose(axes))

    assert np.array_equal(expected, found)


def test_five_axes_are_several_videos() -> None:
    """A batch of videos is split, in all layouts."""
    batch = np.stack([video(5, 3), video(5, 3) + 100])
    for axes in ((0, 1, 4, 2, 3), (0, 4, 1, 2, 3), (0, 1, 2, 3, 4)):
        found = split_videos(batch.transpose(axes))
        assert 2 == len(found)
        assert np.array_equal(batch[1], found[1])


@pytest.mark.parametrize("shape", [(5, 7, 6, 8), (6, 8), (2, 2, 5, 7, 6, 8)])
def test_arrays_that_are_not_videos(shape: tuple[int, ...]) -> None:
    """An array without an axis of channels, or with too few or too many axes, raises."""
    with pytest.raises(ValueError, match=r"an array of shape"):
        split_videos(np.zeros(shape))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2)])
def test_the_images_of_a_batch(axes: tuple[int, ...], channels: int, count: int) -> None:
    """Each image of a batch has its mode and size."""
    images = to_pil_images(video(count, channels).transpose(axes))

    assert [{1: "L", 3: "RGB", 4: "RGBA"}[channels]] * count == [image.mode for image in images]
    assert {(WIDTH, HEIGHT)} == {image.size for image in images}
    first = (channels * (count - 1)) if channels == 1 else tuple(range(channels * (count - 1), channels * count))
    assert first == images[-1].getpixel((0, 0))


def test_one_image_alone_and_a_batch_of_batches() -> None:
    """Images without a batch, without channels, and with five axes are converted."""
    assert 1 == len(to_pil_images(np.zeros((HEIGHT, WIDTH), np.uint8)))
    assert 1 == len(to_pil_images(np.zeros((HEIGHT, WIDTH, 3), np.uint8)))
    assert 1 == len(to_pil_images(np.zeros((3, HEIGHT, WIDTH), np.uint8)))
    assert 5 == len(to_pil_images(np.zeros((5, HEIGHT, WIDTH), np.uint8)))
    assert 4 == len(to_pil_images(np.zeros((2, 2, 3, HEIGHT, WIDTH), np.uint8)))


def test_latents_are_not_images() -> None:
    """An array with other numbers of channels raises."""
    with pytest.raises(ValueError, match="no colour channels"):
        to_pil_images(np.zeros((1, 16, HEIGHT, WIDTH)))


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 100.4, 255.0], [0, 100, 255]),
        ([0.0, 0.5, 1.004], [0, 128, 255]),
        ([0.0, 0.5, float("nan")], [0, 128, 0]),
        ([0.0, 0.5, float("inf")], [0, 128, 0]),
        ([-1.0, 1.0, float("nan")], [0, 255, 0]),
    ],
)
def test_value_ranges(numbers: list[float], expected: list[int]) -> None:
    """Values of [0, 1], [-1, 1] and [0, 255] become bytes; NaN is black and does not change the range."""
    assert expected == to_uint8(np.array([numbers], np.float32))[0].tolist()


def test_the_value_range_of_a_batch() -> None:
    """The range is determined from all images of a batch."""
    batch = np.zeros((2, HEIGHT, WIDTH, 3), np.float32)
    batch[0], batch[1] = 1.0, 200.0
    dark, light = to_pil_images(batch)

    assert (1, 1, 1) == dark.getpixel((0, 0))
    assert (200, 200, 200) == light.getpixel((0, 0))


def test_booleans_are_black_and_white() -> None:
    """A boolean mask is an image in black and white."""
    image = to_pil(np.array([[True, False]]))

    assert [255, 0] == [image.getpixel((x, 0)) for x in range(2)]


def test_sixteen_bits_of_grey_are_kept() -> None:
    """Grey images of 16 bits keep them; colours are reduced to 8 bits."""
    depth = np.full((1, HEIGHT, WIDTH, 1), 40_000, np.uint16)
    (image,) = to_pil_images(depth)
    (coloured,) = to_pil_images(np.full((1, 3, HEIGHT, WIDTH), 40_000, np.uint16))

    assert image.mode.startswith("I;16")
    assert 40_000 == image.getpixel((0, 0))
    assert (156, 156, 156) == coloured.getpixel((0, 0))


def test_batches_of_images() -> None:
    """A batch has four axes, one of them as short as channels are."""
    assert is_image_batch(np.zeros((1, HEIGHT, WIDTH, 1)))
    assert is_image_batch(np.zeros((1, 3, HEIGHT, WIDTH)))
    assert not is_image_batch(np.zeros((HEIGHT, WIDTH, 3)))
    assert not is_image_batch(np.zeros((1, 16, HEIGHT, WIDTH)))


@pytest.mark.parametrize(
    ("shape", "audios"), [((100,), [(1, 100)]), ((2, 100), [(1, 100)] * 2), ((2, 2, 100), [(2, 100)] * 2)]
)
def test_the_audios_of_an_array(shape: tuple[int, ...], audios: list[tuple[int, int]]) -> None:
    """Samples, a batch of mono and a batch of several channels give audios of channels and samples."""
    found = list(split_audios(np.zeros(shape)))

    assert audios == [each.shape for each in found]
    assert {np.dtype(np.float32)} == {each.dtype for each in found}


def test_integer_audios_are_scaled() -> None:
    """Samples of 16 bits are scaled to [-1, 1]."""
    (found,) = split_audios(np.array([-32767, 0, 32767], np.int16))

    assert [-1.0, 0.0, 1.0] == found[0].tolist()


def test_arrays_that_are_not_audios() -> None:
    """An array with four axes raises."""
    with pytest.raises(ValueError, match="is not audio"):
        list(split_audios(np.zeros((1, 1, 1, 100))))


def test_values_that_are_not_finite() -> None:
    """NaN and infinite values are counted; integers are always finite."""
    assert describe_nonfinite(np.ones(3)) is None
    assert describe_nonfinite(np.ones(3, np.int64)) is None
    assert "2 of its 3 values are NaN or infinite" == describe_nonfinite(np.array([np.nan, 1.0, -np.inf]))


def test_linear_light() -> None:
    """Fractions of which most are at most 1 are light; bytes in floating point, dark ones too, and integers are not."""
    light = np.linspace(0, 1.5, 100) ** 3

    assert is_linear_light(light)
    assert is_linear_light(np.append(light, np.nan))
    assert not is_linear_light(light / 2)
    assert not is_linear_light(np.append(light, -1))
    assert not is_linear_light(light * 100)
    assert not is_linear_light(np.array([0.0, 0.0, 1.0, 200.0]))
    assert not is_linear_light(np.array([0, 1, 5]))
    assert not is_linear_light(np.full(3, np.nan))
    assert [0, 188, 255, 0] == to_uint8(np.array([0.0, 0.5, 3.0, np.nan])).tolist()
