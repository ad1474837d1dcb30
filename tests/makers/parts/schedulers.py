"""Noise schedulers, set as the models that they come with set them."""

from __future__ import annotations

from typing import Any

import diffusers

#: How Stable Diffusion's noise grows.
LATENT = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def ddim(**settings: Any) -> Any:
    """Return the DDIM scheduler as Stable Diffusion sets it."""
    shape: dict[str, Any] = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    return diffusers.DDIMScheduler(**(LATENT | shape | settings))


def pndm(**settings: Any) -> Any:
    """Return the PNDM scheduler as Stable Diffusion sets it."""
    shape: dict[str, Any] = {"skip_prk_steps": True, "steps_offset": 1}
    return diffusers.PNDMScheduler(**(LATENT | shape | settings))


def euler(**settings: Any) -> Any:
    """Return the Euler scheduler as Stable Diffusion XL sets it."""
    shape: dict[str, Any] = {"steps_offset": 1, "timestep_spacing": "leading"}
    return diffusers.EulerDiscreteScheduler(**(LATENT | shape | settings))


def ddpm(**settings: Any) -> Any:
    """Return the DDPM scheduler."""
    return diffusers.DDPMScheduler(**settings)
