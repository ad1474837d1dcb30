"""Show the image that unfinished latents would be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image

#: Number of axes of a batch of latents that a VAE decodes as they are: batch, channels, height, width.
LATENT_AXES = 4


@torch.no_grad()
def preview(pipe: DiffusionPipeline, latents: Any) -> Image.Image | None:
    """Return the image that latents would be if they were finished.

    None where that cannot be told: the pipeline has no VAE for them, it decodes them to NaN, or memory is lacking.
    """
    vae, processor = getattr(pipe, "vae", None), getattr(pipe, "image_processor", None)
    if vae is None or processor is None or not isinstance(latents, torch.Tensor) or latents.ndim != LATENT_AXES:
        return None
    scale, shift = getattr(vae.config, "scaling_factor", None), getattr(vae.config, "shift_factor", None) or 0.0
    if scale is None or latents.shape[1] != getattr(vae.config, "latent_channels", None):
        return None
    try:
        with _upcast(vae):
            decoded = vae.decode(latents[:1].to(vae.dtype) / scale + shift, return_dict=False)[0]
    except torch.OutOfMemoryError:
        return None
    if not bool(torch.isfinite(decoded).all()):
        return None
    image = processor.postprocess(decoded, output_type="pil")[0]
    return image if isinstance(image, Image.Image) else None


@contextmanager
def _upcast(vae: Any) -> Iterator[None]:
    """Let a VAE decode in float32 within the context, where its class says that float16 is not enough for it."""
    dtype = vae.dtype
    if dtype != torch.float16 or not getattr(vae.config, "force_upcast", False):
        yield
        return
    vae.to(dtype=torch.float32)
    try:
        yield
    finally:
        vae.to(dtype=dtype)
