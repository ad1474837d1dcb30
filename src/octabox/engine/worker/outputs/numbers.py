"""Convert arrays to images, video frames and audio, by their axes and value range."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

#: Channels of an image: grey, RGB, RGBA.
CHANNELS = (1, 3, 4)

#: Channels of RGB.
RGB_CHANNELS = 3

#: A value that exceeds this is not of [0, 1] or [-1, 1], which rounding may exceed slightly; and how far it may below 0.
HIGHEST, TOLERANCE = 2, 0.01

#: How far linear light may be below 0: black is -0.017 in the curve of LTX-2's HDR (ARRI LogC3).
BLACK = 0.05

#: Number of axes of an image, of a batch of images or a video, and of a batch of videos.
IMAGE, BATCH, VIDEOS = 3, 4, 5


def to_numpy(value: torch.Tensor | np.ndarray) -> np.ndarray:
    """Return a tensor as an array on the host; half precision is converted to float32, which numpy can write."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
        return value.numpy()
    return value.astype(np.float32) if value.dtype == np.float16 else value


def split_videos(array: np.ndarray) -> list[np.ndarray]:
    """Return the videos of an array, each of shape (frames, height, width, channels).

    An array with five axes is a batch of videos. The axis of the channels is one that is as short: the last one, the one after
    the frames, or the one before them; of these two, one with three channels is preferred.

    Raises:
        ValueError: No axis is as short as channels are.
    """
    if array.ndim == VIDEOS:
        return [split_videos(video)[0] for video in array]
    if array.ndim != BATCH:
        raise ValueError(f"an array of shape {array.shape} is not a video")
    if array.shape[-1] in CHANNELS:
        return [array]
    before, after = array.shape[:2]
    if after in CHANNELS and not (before == RGB_CHANNELS != after):
        return [np.moveaxis(array, 1, -1)]
    if before in CHANNELS:
        return [np.moveaxis(array, 0, -1)]
    raise ValueError(f"an array of shape {array.shape} has no colour channels")


def to_pil_images(array: np.ndarray) -> list[Image.Image]:
    """Return the images of an array of shape (..., height, width, channels) or (..., channels, height, width).

    An array with three axes, none of them as short as channels are, is of shape (images, height, width).

    Raises:
        ValueError: No axis is as short as channels are.
    """
    return _images(to_uint8(array))


def _images(array: np.ndarray) -> list[Image.Image]:
    if array.ndim == IMAGE - 1:
        return [to_pil(array)]
    if array.ndim > BATCH:
        return [image for inner in array for image in _images(inner)]
    if array.ndim == IMAGE:
        array = array[None] if is_image_batch(array[None]) else array[..., None]
    if not is_image_batch(array):
        raise ValueError(f"an array of shape {array.shape} has no colour channels")
    batch = array if array.shape[-1] in CHANNELS else np.moveaxis(array, 1, -1)
    return [to_pil(image) for image in batch]


def is_image_batch(array: np.ndarray) -> bool:
    """Return whether an array may be a batch of images: it has four axes, one of them as short as channels are."""
    return array.ndim == BATCH and (array.shape[-1] in CHANNELS or array.shape[1] in CHANNELS)


def to_pil(array: np.ndarray) -> Image.Image:
    """Return an image from an array of shape (height, width) or (height, width, channels), of any of the usual ranges."""
    grey = array[..., 0] if array.ndim == IMAGE and array.shape[-1] == 1 else array
    if grey.dtype == np.uint16 and grey.ndim == IMAGE - 1:
        return Image.fromarray(np.ascontiguousarray(grey))
    return Image.fromarray(to_uint8(grey))


def to_uint8(array: np.ndarray) -> np.ndarray:
    """Convert values of [0, 1], [-1, 1], [0, 255] or linear light of [0, infinity) to uint8; NaN and infinity become black.

    Linear light is clipped at 1 and converted by the transfer function of sRGB, as diffusers writes it to a file.

    The range is determined from all values, so pass a complete video: a dark frame alone may be taken for another range.
    16-bit integers are kept if they are grey, and reduced to 8 bits if they are coloured.
    """
    if array.dtype == np.uint8 or (array.dtype == np.uint16 and not _is_coloured(array)):
        return np.ascontiguousarray(array)
    if array.dtype == np.uint16:
        return np.ascontiguousarray((array >> 8).astype(np.uint8))
    values = np.asarray(array, np.float32)
    finite = np.isfinite(values)
    low, high = (float(bound(values, initial=0, where=finite)) for bound in (np.min, np.max))
    if high > HIGHEST and is_linear_light(array):
        clipped = np.where(finite, values, 0).clip(0, 1)
        scaled = 255 * np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055)  # noqa: PLR2004 (sRGB)
    elif high > HIGHEST:
        scaled = values
    elif low < -TOLERANCE:
        scaled = (values + 1) * 127.5
    else:
        scaled = values * 255
    scaled = np.where(finite, scaled, 0)
    return np.ascontiguousarray(scaled.round().clip(0, 255).astype(np.uint8))


def is_linear_light(array: np.ndarray) -> bool:
    """Return whether values are linear light (HDR): fractions, most of them at most 1, and some greater than other ranges have.

    Bytes in floating point are whole numbers, or for the greater part more than 1.
    """
    if array.dtype.kind != "f":
        return False
    values = array[np.isfinite(array)]
    if not values.size or values.max() <= HIGHEST or values.min() < -BLACK:
        return False
    small = values[values <= 1]
    return bool(2 * small.size > values.size and 2 * np.count_nonzero(small % 1) > np.count_nonzero(small))


def _is_coloured(array: np.ndarray) -> bool:
    """Return whether an array has several channels."""
    return array.ndim > IMAGE - 1 and bool({*array.shape[-3:-2], array.shape[-1]} & set(CHANNELS[1:]))


def split_audios(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the audios of an array of shape (length), (audios, length) or (audios, channels, length).

    Each is float32 of shape (channels, length).
    """
    array = np.asarray(array)
    scale = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else 1
    array = array.astype(np.float32) / np.float32(scale)
    if array.ndim == 1:
        array = array[None]
    if array.ndim == IMAGE - 1:
        array = array[:, None]
    if array.ndim != IMAGE:
        raise ValueError(f"an array of shape {array.shape} is not audio")
    yield from array


def describe_nonfinite(array: np.ndarray) -> str | None:
    """Return how many values of an array are not finite; None if all are."""
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return None
    return f"{array.size - int(np.isfinite(array).sum())} of its {array.size} values are NaN or infinite"
