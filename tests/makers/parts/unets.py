"""UNets with random weights."""

from __future__ import annotations

from typing import Any

import diffusers

from makers.parts.encoders import WIDTH

#: Channels of the two levels of every UNet here.
LEVELS = (16, 32)

#: What the UNets and the ControlNets of Stable Diffusion share.
SHAPE: dict[str, Any] = {
    "block_out_channels": LEVELS,
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "cross_attention_dim": WIDTH,
    "attention_head_dim": 8,
    "norm_num_groups": 8,
}

#: What those of Stable Diffusion XL have beside: two text encoders, the pooled embedding of one, and six numbers of sizes.
LARGE = SHAPE | {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "cross_attention_dim": 2 * WIDTH,
    "attention_head_dim": (2, 4),
    "transformer_layers_per_block": (1, 1),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + WIDTH,
}


def conditional(channels: int = 4, **settings: Any) -> Any:
    """Return a UNet that follows a text, as Stable Diffusion's; it takes ``channels`` channels and gives back four."""
    shape: dict[str, Any] = {
        "sample_size": 16,
        "in_channels": channels,
        "out_channels": 4,
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    return diffusers.UNet2DConditionModel(**(SHAPE | shape | settings))


def large(channels: int = 4, **settings: Any) -> Any:
    """Return a UNet as Stable Diffusion XL's."""
    shape = LARGE | {"up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")}
    return conditional(channels, **(shape | settings))


def controlnet(**settings: Any) -> Any:
    """Return a ControlNet for a UNet of this file; its settings are those of the UNet."""
    shape: dict[str, Any] = {"in_channels": 4, "conditioning_embedding_out_channels": (4, 8)}
    return diffusers.ControlNetModel(**(SHAPE | shape | settings))


def plain(side: int = 16, channels: int = 3, **settings: Any) -> Any:
    """Return a UNet without text, for images of ``side`` x ``side``."""
    shape: dict[str, Any] = {
        "sample_size": side,
        "in_channels": channels,
        "out_channels": channels,
        "block_out_channels": LEVELS,
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": 8,
        "norm_num_groups": 8,
    }
    return diffusers.UNet2DModel(**(shape | settings))
