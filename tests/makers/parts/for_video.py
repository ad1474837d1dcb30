"""Components that several families of clips share."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from makers.parts import encoders


def wan_vae(channels: int = 4, **settings: Any) -> Any:
    """Return Wan's autoencoder: 8 times smaller, 4 times fewer frames."""
    known: dict[str, Any] = {
        "base_dim": 4,
        "z_dim": channels,
        "dim_mult": [1, 1, 1, 1],
        "num_res_blocks": 1,
        "temperal_downsample": [False, True, True],
        "latents_mean": [0.0] * channels,
        "latents_std": [1.0] * channels,
    }
    return diffusers.AutoencoderKLWan(**{**known, **settings})


def flow(**settings: Any) -> Any:
    """Return the scheduler of most transformers."""
    return diffusers.FlowMatchEulerDiscreteScheduler(**settings)


def gemma3(width: int = encoders.WIDTH, **settings: Any) -> Any:
    """Return Gemma 3 of texts and images, with two layers: three hidden states."""
    shared = encoders.causal(width) | {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    text = shared | {"head_dim": 8, "query_pre_attn_scalar": 8, "layer_types": ["full_attention"] * 2}
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, **settings)
    return transformers.Gemma3ForConditionalGeneration(config)


def hunyuan_vae(**settings: Any) -> Any:
    """Return HunyuanVideo's autoencoder: 8 times smaller, 4 times fewer frames."""
    known: dict[str, Any] = {
        "latent_channels": 4,
        "block_out_channels": (8, 8, 8, 8),
        "layers_per_block": 1,
        "norm_num_groups": 4,
    }
    return diffusers.AutoencoderKLHunyuanVideo(**{**known, **settings})
