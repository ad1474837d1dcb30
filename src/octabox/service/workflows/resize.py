"""Enlarge images and latents without a model."""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from octabox.errors import GenerationError
from octabox.media.images import encode_png
from octabox.service.inputs import LATENT_AXES

#: The default filter.
LANCZOS = "lanczos"

#: Filters for images, by Pillow's names.
FILTERS: Mapping[str, Image.Resampling] = MappingProxyType(
    {
        each.name.lower(): each
        for each in (
            Image.Resampling.LANCZOS,
            Image.Resampling.BICUBIC,
            Image.Resampling.BILINEAR,
            Image.Resampling.NEAREST,
        )
    }
)

#: Filters for latents, by the names of the AUTOMATIC1111 web UI.
LATENT_FILTERS: Mapping[str, Image.Resampling] = MappingProxyType(
    {
        "latent": Image.Resampling.BILINEAR,
        "latent-bicubic": Image.Resampling.BICUBIC,
        "latent-nearest": Image.Resampling.NEAREST,
    }
)


def resize_latents(
    latents: npt.NDArray[np.floating], scales: tuple[float, float], name: str, *, crop: bool = False
) -> npt.NDArray[np.float32]:
    """Return resized latents.

    Args:
        latents: Of shape (batch, channels, height, width).
        scales: Factors of width and height.
        name: One of `LATENT_FILTERS`.
        crop: Whether the larger factor is used for both sides, and what exceeds the size is cut off around the centre.

    Raises:
        GenerationError: They have another shape, since some pipelines pack them.
    """
    if latents.ndim != LATENT_AXES:
        raise GenerationError(
            f"The latents of this pipeline have the shape {list(latents.shape)}, and cannot be resized like an image.",
            hint=f"Use one of the upscalers {', '.join(FILTERS)}.",
        )
    target = scaled(latents.shape, scales)
    planes = map(Image.fromarray, latents.astype(np.float32).reshape(-1, *latents.shape[2:]))
    # `fit` crops first: the whole of long latents in the larger factor could be far larger than the size.
    larger = [
        ImageOps.fit(plane, target, LATENT_FILTERS[name]) if crop else plane.resize(target, LATENT_FILTERS[name])
        for plane in planes
    ]
    resized = np.stack([np.asarray(plane) for plane in larger])
    return resized.reshape(*latents.shape[:2], target[1], target[0])


def scaled(shape: tuple[int, ...], scales: tuple[float, float]) -> tuple[int, int]:
    """Return width and height of latents of a shape, scaled; each is one at least."""
    return max(round(shape[3] * scales[0]), 1), max(round(shape[2] * scales[1]), 1)


def resize_image(content: bytes, size: tuple[int, int], name: str = LANCZOS, *, crop: bool = False) -> bytes:
    """Return the file of an image at another size; an image of this size is returned unchanged.

    Args:
        content: The file.
        size: Width and height.
        name: One of `FILTERS`.
        crop: Whether an image of another shape is cropped around its centre, not stretched.
    """
    with Image.open(io.BytesIO(content)) as image:
        if image.size == size:
            return content
        made = ImageOps.fit(image, size, FILTERS[name]) if crop else image.resize(size, FILTERS[name])
        return encode_png(made)
