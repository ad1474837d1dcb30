"""Decode unfinished latents to an image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image

from octabox.engine.worker.placement.device_errors import is_out_of_memory

#: Number of axes of image latents: batch, channels, height, width.
LATENT_AXES = 4


@torch.no_grad()
def preview(pipe: DiffusionPipeline, latents: Any) -> Image.Image | None:
    """Return the image that a VAE decodes of unfinished latents.

    None if the pipeline has no VAE for them, if the result is NaN, or if memory is insufficient.
    """
    vae, processor = getattr(pipe, "vae", None), getattr(pipe, "image_processor", None)
    if vae is None or processor is None or not isinstance(latents, torch.Tensor) or latents.ndim != LATENT_AXES:
        return None
    scale = getattr(vae.config, "scaling_factor", None)
    if scale is None or latents.shape[1] != getattr(vae.config, "latent_channels", None):
        return None
    try:
        with _upcast(vae):
            decoded = vae.decode(_unscaled(vae.config, latents[:1].to(vae.dtype), scale), return_dict=False)[0]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None
    if not bool(torch.isfinite(decoded).all()):
        return None
    image = processor.postprocess(decoded, output_type="pil")[0]
    return image if isinstance(image, Image.Image) else None


def _unscaled(config: Any, latents: torch.Tensor, scale: float) -> torch.Tensor:
    """Return latents as a VAE takes them: with the mean and standard deviation of its configuration, or its shift.

    Args:
        config: The configuration of the VAE.
        latents: Latents of shape (1, channels, height, width).
        scale: Its scaling factor.
    """
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is None or std is None:
        return latents / scale + (getattr(config, "shift_factor", None) or 0.0)
    mean, std = (torch.tensor(each).view(1, -1, 1, 1).to(latents.device, latents.dtype) for each in (mean, std))
    return latents * std / scale + mean


@contextmanager
def _upcast(vae: Any) -> Iterator[None]:
    """Cast a VAE to float32 within the context if its configuration requires that for float16."""
    dtype = vae.dtype
    if dtype != torch.float16 or not getattr(vae.config, "force_upcast", False):
        yield
        return
    vae.to(dtype=torch.float32)
    try:
        yield
    finally:
        vae.to(dtype=dtype)
