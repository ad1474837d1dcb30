"""Autoencoders that only some families use, with random weights."""

from __future__ import annotations

from typing import Any

import diffusers


def deep(latents: int = 8, **settings: Any) -> Any:
    """Return a deep-compression autoencoder, whose latents are half as high as their images."""
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


def flux_2(latents: int = 4, **settings: Any) -> Any:
    """Return an autoencoder as Flux 2 has it: what it packs 2 by 2 latents into is brought to one scale."""
    shape = {
        "latent_channels": latents,
        "block_out_channels": (8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "sample_size": 32,
    }
    return diffusers.AutoencoderKLFlux2(**(shape | settings))


def qwen(latents: int = 16, **settings: Any) -> Any:
    """Return an autoencoder of images and clips, as Qwen-Image has it; a latent is half as high as its image."""
    shape = {
        "base_dim": 8,
        "z_dim": latents,
        "dim_mult": [1, 1],
        "num_res_blocks": 1,
        "temperal_downsample": [False],
        "latents_mean": [0.0] * latents,
        "latents_std": [1.0] * latents,
    }
    return diffusers.AutoencoderKLQwenImage(**(shape | settings))


def hunyuan_image(latents: int = 8, **settings: Any) -> Any:
    """Return an autoencoder as Hunyuan-Image has it; a latent is half as high as its image."""
    shape = {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": latents,
        "block_out_channels": (32, 32),
        "layers_per_block": 1,
        "spatial_compression_ratio": 2,
        "sample_size": 32,
        "scaling_factor": 0.75289,
    }
    return diffusers.AutoencoderKLHunyuanImage(**(shape | settings))


def hunyuan_refiner(latents: int = 8, **settings: Any) -> Any:
    """Return an autoencoder as the refiner of Hunyuan-Image has it; a latent is half as high as its image."""
    shape = {
        "latent_channels": latents,
        "block_out_channels": (32, 32),
        "layers_per_block": 1,
        "spatial_compression_ratio": 2,
        "temporal_compression_ratio": 1,
    }
    return diffusers.AutoencoderKLHunyuanImageRefiner(**(shape | settings))
