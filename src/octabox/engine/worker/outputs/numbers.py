"""Tell what an array of numbers shows from its axes: images, frames or audio; and bring it into the usual form."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

#: Numbers of colour channels that an image may have: grey, RGB, RGBA.
CHANNELS = (1, 3, 4)

#: The usual number of them.
COLOURS = 3

#: Axes of one image, of a batch of them or of one video, and of a batch of videos.
IMAGE, BATCH, VIDEOS = 3, 4, 5


def as_array(value: torch.Tensor | np.ndarray) -> np.ndarray:
    """Return a tensor as an array on the host; numbers of half precision become float32, which numpy can write."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
        return value.numpy()
    return value.astype(np.float32) if value.dtype == np.float16 else value


def frames_of(array: np.ndarray) -> list[np.ndarray]:
    """Return the videos of an array, each of shape (frames, height, width, channels).

    An array of five axes holds several videos. Where the channels stand is told by which axis is as short as they are: the
    last one, the one behind the frames, or the one before them; between these two, three colours are likelier than others.

    Raises:
        ValueError: No axis is as short as that.
    """
    if array.ndim == VIDEOS:
        return [frames_of(video)[0] for video in array]
    if array.ndim != BATCH:
        raise ValueError(f"an array of shape {array.shape} is no video")
    if array.shape[-1] in CHANNELS:
        return [array]
    behind, before = array.shape[1], array.shape[0]
    if behind in CHANNELS and not (before == COLOURS != behind):
        return [np.moveaxis(array, 1, -1)]
    if before in CHANNELS:
        return [np.moveaxis(array, 0, -1)]
    raise ValueError(f"an array of shape {array.shape} has no colour channels")


def images_of(array: np.ndarray) -> list[Image.Image]:
    """Return the images of an array of shape (..., height, width, channels) or (..., channels, height, width).

    Where no axis of three is as short as channels are, they are (images, height, width).

    Raises:
        ValueError: No axis is as short as channels are.
    """
    return _images(as_bytes(array))


def _images(array: np.ndarray) -> list[Image.Image]:
    if array.ndim == IMAGE - 1:
        return [as_image(array)]
    if array.ndim > BATCH:
        return [image for inner in array for image in _images(inner)]
    if array.ndim == IMAGE:
        array = array[None] if is_image(array[None]) else array[..., None]
    if not is_image(array):
        raise ValueError(f"an array of shape {array.shape} has no colour channels")
    batch = array if array.shape[-1] in CHANNELS else np.moveaxis(array, 1, -1)
    return [as_image(image) for image in batch]


def is_image(array: np.ndarray) -> bool:
    """Return whether an array may be a batch of images or maps: four axes, of which one is as short as channels are."""
    return array.ndim == BATCH and (array.shape[-1] in CHANNELS or array.shape[1] in CHANNELS)


def as_image(array: np.ndarray) -> Image.Image:
    """Return one image of shape (height, width) or (height, width, channels); its range is told from its numbers."""
    grey = array[..., 0] if array.ndim == IMAGE and array.shape[-1] == 1 else array
    if grey.dtype == np.uint16 and grey.ndim == IMAGE - 1:
        return Image.fromarray(np.ascontiguousarray(grey))
    return Image.fromarray(as_bytes(grey))


def as_bytes(array: np.ndarray) -> np.ndarray:
    """Bring numbers of [0, 1], of [-1, 1] or of [0, 255] to bytes; what is no number becomes black.

    The range is told from all numbers together, so give whole videos: a dark frame alone would be taken for another range.
    Whole numbers of 16 bits stay as they are where they are grey, and lose their lower half where they are colours.
    """
    if array.dtype == np.uint8 or (array.dtype == np.uint16 and not _is_coloured(array)):
        return np.ascontiguousarray(array)
    if array.dtype == np.uint16:
        return np.ascontiguousarray((array >> 8).astype(np.uint8))
    numbers = np.asarray(array, np.float32)
    known = np.isfinite(numbers)
    low, high = (float(edge(numbers, initial=0, where=known)) for edge in (np.min, np.max))
    slack = 0.01
    if high > 2:  # noqa: PLR2004 (a range of bytes; rounding may pass 1 a little)
        scaled = numbers
    elif low < -slack:
        scaled = (numbers + 1) * 127.5
    else:
        scaled = numbers * 255
    scaled = np.where(known, scaled, 0)
    return np.ascontiguousarray(scaled.round().clip(0, 255).astype(np.uint8))


def _is_coloured(array: np.ndarray) -> bool:
    """Return whether an array has an axis of several colours."""
    return array.ndim > IMAGE - 1 and bool({*array.shape[-3:-2], array.shape[-1]} & set(CHANNELS[1:]))


def audios_of(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the audio of an array, each float32 of shape (channels, length).

    The axes are (length), (audio, length) or (audio, channels, length).
    """
    array = np.asarray(array)
    whole = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else 1
    array = array.astype(np.float32) / np.float32(whole)
    if array.ndim == 1:
        array = array[None]
    if array.ndim == IMAGE - 1:
        array = array[:, None]
    if array.ndim != IMAGE:
        raise ValueError(f"an array of shape {array.shape} is no audio")
    yield from array


def damage(array: np.ndarray) -> str | None:
    """Return what is wrong with an array's numbers; None where nothing is."""
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return None
    return f"{array.size - int(np.isfinite(array).sum())} of its {array.size} numbers are none (NaN or infinite)"
