"""What arrays show: axes in every usual order, every range of numbers, and numbers that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from octabox.engine.worker.outputs.numbers import (
    as_array,
    as_bytes,
    as_image,
    audios_of,
    damage,
    frames_of,
    images_of,
    is_image,
)

Array = npt.NDArray[Any]

#: Sides of images; no axis of theirs is as short as channels are.
HEIGHT, WIDTH = 6, 8


def video(frames: int, channels: int) -> Array:
    """Return a video in which every number tells its frame and its channel, with the channels last."""
    numbers = np.arange(frames * channels).reshape(frames, 1, 1, channels)
    return np.broadcast_to(numbers, (frames, HEIGHT, WIDTH, channels)).astype(np.uint8)


def test_a_tensor_of_half_precision_becomes_an_array_of_whole_floats() -> None:
    """Numpy has no bfloat16, and writes no float16 that others read; integers and booleans stay."""
    half = torch.tensor([0.5, 1.5], dtype=torch.bfloat16, requires_grad=True)

    assert np.float32 == as_array(half).dtype
    assert [0.5, 1.5] == as_array(half).tolist()
    assert np.float32 == as_array(np.zeros(2, np.float16)).dtype
    assert np.int64 == as_array(torch.tensor([1, 2])).dtype
    assert np.bool_ == as_array(torch.tensor([True])).dtype


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("frames", [2, 5, 9])
@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 0, 1, 2)])
def test_the_channels_of_a_video_are_found(axes: tuple[int, ...], frames: int, channels: int) -> None:
    """Frames come out the same, whether channels stand last, behind the frames or before them."""
    own = video(frames, channels)
    (found,) = frames_of(own.transpose(axes))

    assert np.array_equal(own, found)


@pytest.mark.parametrize("axes", [(0, 3, 1, 2), (3, 0, 1, 2)])
@pytest.mark.parametrize("frames", [1, 4])
def test_three_colours_are_likelier_than_three_frames(axes: tuple[int, ...], frames: int) -> None:
    """A video as short as channels are is no riddle where its channels are three."""
    own = video(frames, 3)
    (found,) = frames_of(own.transpose(axes))

    assert np.array_equal(own, found)


def test_five_axes_are_several_videos() -> None:
    """A batch of videos is taken apart, in both orders of its axes."""
    batch = np.stack([video(5, 3), video(5, 3) + 100])
    for axes in ((0, 1, 4, 2, 3), (0, 4, 1, 2, 3), (0, 1, 2, 3, 4)):
        found = frames_of(batch.transpose(axes))
        assert 2 == len(found)
        assert np.array_equal(batch[1], found[1])


@pytest.mark.parametrize("shape", [(5, 7, 6, 8), (6, 8), (2, 2, 5, 7, 6, 8)])
def test_what_is_no_video_is_refused(shape: tuple[int, ...]) -> None:
    """An array without an axis of colours, or of too few or too many axes, is no video."""
    with pytest.raises(ValueError, match=r"an array of shape"):
        frames_of(np.zeros(shape))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2)])
def test_the_images_of_a_batch(axes: tuple[int, ...], channels: int, count: int) -> None:
    """Every image of a batch comes out in its mode and size, however many there are."""
    images = images_of(video(count, channels).transpose(axes))

    assert [{1: "L", 3: "RGB", 4: "RGBA"}[channels]] * count == [image.mode for image in images]
    assert {(WIDTH, HEIGHT)} == {image.size for image in images}
    first = (channels * (count - 1)) if channels == 1 else tuple(range(channels * (count - 1), channels * count))
    assert first == images[-1].getpixel((0, 0))


def test_one_image_alone_and_a_batch_of_batches() -> None:
    """An image without a batch, one without channels, and images under five axes are all found."""
    assert 1 == len(images_of(np.zeros((HEIGHT, WIDTH), np.uint8)))
    assert 1 == len(images_of(np.zeros((HEIGHT, WIDTH, 3), np.uint8)))
    assert 1 == len(images_of(np.zeros((3, HEIGHT, WIDTH), np.uint8)))
    assert 5 == len(images_of(np.zeros((5, HEIGHT, WIDTH), np.uint8)))
    assert 4 == len(images_of(np.zeros((2, 2, 3, HEIGHT, WIDTH), np.uint8)))


def test_latents_are_no_images() -> None:
    """Channels that no image has make numbers for a model."""
    with pytest.raises(ValueError, match="no colour channels"):
        images_of(np.zeros((1, 16, HEIGHT, WIDTH)))


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
def test_the_range_of_numbers_is_told_from_them(numbers: list[float], expected: list[int]) -> None:
    """Numbers of [0, 1], [-1, 1] and [0, 255] become bytes; a number that is none is black and does not change the range."""
    assert expected == as_bytes(np.array([numbers], np.float32))[0].tolist()


def test_the_range_of_a_batch_is_told_from_all_of_it() -> None:
    """A dark image beside a light one is not taken to be of another range."""
    batch = np.zeros((2, HEIGHT, WIDTH, 3), np.float32)
    batch[0], batch[1] = 1.0, 200.0
    dark, light = images_of(batch)

    assert (1, 1, 1) == dark.getpixel((0, 0))
    assert (200, 200, 200) == light.getpixel((0, 0))


def test_booleans_are_black_and_white() -> None:
    """A mask of booleans is an image of two greys."""
    image = as_image(np.array([[True, False]]))

    assert [255, 0] == [image.getpixel((x, 0)) for x in range(2)]


def test_sixteen_bits_of_grey_are_kept() -> None:
    """Depth of 16 bits keeps them; colours of 16 bits become 8."""
    depth = np.full((1, HEIGHT, WIDTH, 1), 40_000, np.uint16)
    (image,) = images_of(depth)
    (coloured,) = images_of(np.full((1, 3, HEIGHT, WIDTH), 40_000, np.uint16))

    assert image.mode.startswith("I;16")
    assert 40_000 == image.getpixel((0, 0))
    assert (156, 156, 156) == coloured.getpixel((0, 0))


def test_what_may_be_a_batch_of_maps() -> None:
    """Maps have four axes, of which one is short."""
    assert is_image(np.zeros((1, HEIGHT, WIDTH, 1)))
    assert is_image(np.zeros((1, 3, HEIGHT, WIDTH)))
    assert not is_image(np.zeros((HEIGHT, WIDTH, 3)))
    assert not is_image(np.zeros((1, 16, HEIGHT, WIDTH)))


@pytest.mark.parametrize(
    ("shape", "sounds"), [((100,), [(1, 100)]), ((2, 100), [(1, 100)] * 2), ((2, 2, 100), [(2, 100)] * 2)]
)
def test_the_audios_of_an_array(shape: tuple[int, ...], audios: list[tuple[int, int]]) -> None:
    """Samples alone, a batch of mono and a batch of several channels become audio of channels and samples."""
    found = list(audios_of(np.zeros(shape)))

    assert audios == [each.shape for each in found]
    assert {np.dtype(np.float32)} == {each.dtype for each in found}


def test_whole_numbers_of_an_audio_are_scaled() -> None:
    """Samples of 16 bits become fractions."""
    (found,) = audios_of(np.array([-32767, 0, 32767], np.int16))

    assert [-1.0, 0.0, 1.0] == found[0].tolist()


def test_what_is_no_audio_is_refused() -> None:
    """An array of four axes is no audio."""
    with pytest.raises(ValueError, match="no audio"):
        list(audios_of(np.zeros((1, 1, 1, 100))))


def test_damage_is_counted() -> None:
    """Numbers that are none are counted; whole numbers cannot be damaged."""
    assert damage(np.ones(3)) is None
    assert damage(np.ones(3, np.int64)) is None
    assert "2 of its 3 numbers are none (NaN or infinite)" == damage(np.array([np.nan, 1.0, -np.inf]))
