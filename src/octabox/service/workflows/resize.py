"""Enlarge images and latents without a model."""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import Image

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


def resize_latents(latents: npt.NDArray[np.floating], scale: float, name: str) -> npt.NDArray[np.float32]:
    """Return resized latents.

    Args:
        latents: Of shape (batch, channels, height, width).
        scale: Factor of each side.
        name: One of `LATENT_FILTERS`.

    Raises:
        GenerationError: They have another shape, since some pipelines pack them.
    """
    if latents.ndim != LATENT_AXES:
        raise GenerationError(
            f"The latents of this pipeline have the shape {list(latents.shape)}, and cannot be resized like an image.",
            hint=f"Use one of the upscalers {', '.join(FILTERS)}.",
        )
    size = round(latents.shape[3] * scale), round(latents.shape[2] * scale)
    planes = latents.astype(np.float32).reshape(-1, *latents.shape[2:])
    larger = [np.asarray(Image.fromarray(plane).resize(size, LATENT_FILTERS[name])) for plane in planes]
    return np.stack(larger).reshape(*latents.shape[:2], size[1], size[0])


def resize_image(content: bytes, size: tuple[int, int], name: str = LANCZOS) -> bytes:
    """Return the file of an image at another size; an image of this size is returned unchanged."""
    with Image.open(io.BytesIO(content)) as image:
        if image.size == size:
            return content
        return encode_png(image.resize(size, FILTERS[name]))
