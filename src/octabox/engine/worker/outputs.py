"""Turn what a pipeline returns into pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from octabox.errors import GenerationError

#: Number of axes of a batch of latents that a VAE decodes as they are: batch, channels, height, width.
LATENT_AXES = 4


def pictures(output: Any, pipeline: str) -> list[Image.Image]:
    """Return all pictures of an output, in order.

    Raises:
        GenerationError: It holds no pictures.
    """
    fields = output.values() if isinstance(output, Mapping) else vars(output).values()
    found = [picture for field in fields for picture in _in_field(field)]
    if not found:
        raise GenerationError(
            f"{pipeline} returned {type(output).__name__} with no pictures in it.",
            hint="Only pipelines that make pictures are served so far.",
        )
    return found


def _in_field(value: Any) -> Iterable[Image.Image]:
    """Yield the pictures in one field of an output: PIL images, arrays in [0, 1] of shape (n, height, width, channels)."""
    if isinstance(value, Image.Image):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _in_field(item)
    elif isinstance(value, np.ndarray) and value.ndim == LATENT_AXES and value.shape[-1] in (1, 3, 4):
        yield from VaeImageProcessor.numpy_to_pil(value)


def warnings_about(output: Any) -> list[str]:
    """Return what must be said of an output: which pictures a safety checker made black."""
    flags = getattr(output, "nsfw_content_detected", None)
    if isinstance(flags, (list, tuple)) and any(flags):
        return ["The model's safety checker judged the picture unsafe and made it black."]
    return []


@torch.no_grad()
def preview(pipe: DiffusionPipeline, latents: Any) -> Image.Image | None:
    """Return the picture that latents would be if they were finished; None where that cannot be told."""
    vae, processor = getattr(pipe, "vae", None), getattr(pipe, "image_processor", None)
    if vae is None or processor is None or not isinstance(latents, torch.Tensor) or latents.ndim != LATENT_AXES:
        return None
    scale, shift = getattr(vae.config, "scaling_factor", None), getattr(vae.config, "shift_factor", None) or 0.0
    if scale is None or latents.shape[1] != vae.config.latent_channels:
        return None
    decoded = vae.decode(latents[:1].to(vae.dtype) / scale + shift, return_dict=False)[0]
    picture = processor.postprocess(decoded, output_type="pil")[0]
    return picture if isinstance(picture, Image.Image) else None
