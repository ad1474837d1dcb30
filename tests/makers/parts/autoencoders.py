"""Autoencoders that only some families use, with random weights."""

from __future__ import annotations

from typing import Any

import diffusers


def deep(latents: int = 8, **settings: Any) -> Any:
    """Return a deep-compression autoencoder, whose latents are half as high as their pictures."""
    shape = {
        "latent_channels": latents,
        "attention_head_dim": 4,
        "encoder_block_types": ("ResBlock", "EfficientViTBlock"),
        "decoder_block_types": ("ResBlock", "EfficientViTBlock"),
        "encoder_block_out_channels": (8, 8),
        "decoder_block_out_channels": (8, 8),
        "encoder_layers_per_block": (1, 1),
        "decoder_layers_per_block": (1, 1),
        "encoder_qkv_multiscales": ((), (5,)),
        "decoder_qkv_multiscales": ((), (5,)),
        "scaling_factor": 0.41407,
    }
    return diffusers.AutoencoderDC(**(shape | settings))
