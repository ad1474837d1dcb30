"""Show the picture that unfinished latents would be."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image

#: Number of axes of a batch of latents that a VAE decodes as they are: batch, channels, height, width.
LATENT_AXES = 4


@torch.no_grad()
def preview(pipe: DiffusionPipeline, latents: Any) -> Image.Image | None:
    """Return the picture that latents would be if they were finished; None where that cannot be told."""
    vae, processor = getattr(pipe, "vae", None), getattr(pipe, "image_processor", None)
    if vae is None or processor is None or not isinstance(latents, torch.Tensor) or latents.ndim != LATENT_AXES:
        return None
    scale, shift = getattr(vae.config, "scaling_factor", None), getattr(vae.config, "shift_factor", None) or 0.0
    if scale is None or latents.shape[1] != getattr(vae.config, "latent_channels", None):
        return None
    decoded = vae.decode(latents[:1].to(vae.dtype) / scale + shift, return_dict=False)[0]
    picture = processor.postprocess(decoded, output_type="pil")[0]
    return picture if isinstance(picture, Image.Image) else None
