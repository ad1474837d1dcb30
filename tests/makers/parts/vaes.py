"""Autoencoders of images with random weights."""

from __future__ import annotations

from typing import Any

import diffusers


def kl(latents: int = 4, halvings: int = 1, *, width: int = 8, **settings: Any) -> Any:
    """Return an autoencoder of images.

    Args:
        latents: Channels of a latent.
        halvings: How many times smaller a latent is than its image, as a power of two: 1 makes it half as high.
        width: Channels of each level.
        **settings: Further settings of the class.
    """
    levels = halvings + 1
    shape = {
        "latent_channels": latents,
        "block_out_channels": (width,) * levels,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "layers_per_block": 1,
        "norm_num_groups": min(4, width),
        "sample_size": 32,
    }
    return diffusers.AutoencoderKL(**(shape | settings))


def flow(latents: int = 16, halvings: int = 1, **settings: Any) -> Any:
    """Return an autoencoder as rectified-flow transformers have it: without quantizing layers, its latents shifted."""
    shape = {"use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.0609, "scaling_factor": 1.5035}
    return kl(latents, halvings, **(shape | settings))


def tiny(latents: int = 4, halvings: int = 1, **settings: Any) -> Any:
    """Return a tiny autoencoder of the `taesd` kind."""
    levels = halvings + 1
    shape = {
        "latent_channels": latents,
        "encoder_block_out_channels": (8,) * levels,
        "decoder_block_out_channels": (8,) * levels,
        "num_encoder_blocks": (1,) * levels,
        "num_decoder_blocks": (1,) * levels,
    }
    return diffusers.AutoencoderTiny(**(shape | settings))


def vq(latents: int = 3, halvings: int = 1, *, width: int = 8, **settings: Any) -> Any:
    """Return an autoencoder whose latents are entries of a code book."""
    levels = halvings + 1
    shape = {
        "latent_channels": latents,
        "block_out_channels": (width,) * levels,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "layers_per_block": 1,
        "norm_num_groups": min(4, width),
        "num_vq_embeddings": 32,
        "sample_size": 32,
    }
    return diffusers.VQModel(**(shape | settings))
