"""HiDream, told of words by two CLIP encoders, T5 and Llama; PRX, by Gemma."""

from __future__ import annotations

from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, language, tokenizers, vaes

#: What every call is told.
PARAMS = {
    "prompt": "a red star",
    "num_inference_steps": 2,
    "height": 32,
    "width": 32,
    "max_sequence_length": 16,
    "use_resolution_binning": False,
}

#: Channels of a latent.
LATENTS = 4


def hidream() -> dict[str, Any]:
    """Return what a HiDream pipeline is made of."""
    transformer = diffusers.HiDreamImageTransformer2DModel(
        patch_size=2,
        in_channels=LATENTS,
        out_channels=LATENTS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        caption_channels=[encoders.WIDTH, encoders.WIDTH],
        text_emb_dim=2 * encoders.WIDTH,
        num_routed_experts=2,
        num_activated_experts=1,
        axes_dims_rope=(4, 4, 8),
        max_resolution=(16, 16),
        llama_layers=[0, 1],
    )
    return {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        # Its images are of 128 by 128 latents at least: a latent is as small as a pixel here.
        "vae": vaes.flow(LATENTS, 0, mid_block_add_attention=False),
        "text_encoder": encoders.clip_text_with_projection(max_position_embeddings=218),
        "tokenizer": tokenizers.clip(),
        "text_encoder_2": encoders.clip_text_with_projection(max_position_embeddings=218),
        "tokenizer_2": tokenizers.clip(),
        "text_encoder_3": encoders.t5_encoder(),
        "tokenizer_3": tokenizers.t5(),
        "text_encoder_4": language.llama(),
        "tokenizer_4": tokenizers.llama(),
        "transformer": transformer,
    }


def prx() -> dict[str, Any]:
    """Return what a PRX pipeline is made of."""
    return {
        "transformer": diffusers.PRXTransformer2DModel(in_channels=LATENTS, patch_size=2, **_shape()),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        # The encoder of T5-Gemma, which the class names, cannot be loaded from what it saves of itself.
        "text_encoder": encoders.gemma2(),
        "tokenizer": tokenizers.gemma(length=16),
        "vae": vaes.flow(LATENTS),
    }


def prx_pixel() -> dict[str, Any]:
    """Return what a PRX pipeline is made of that draws pixels, without an autoencoder."""
    return {
        "transformer": diffusers.PRXTransformer2DModel(in_channels=3, patch_size=4, bottleneck_size=8, **_shape()),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        "text_encoder": language.qwen3(),
        "tokenizer": tokenizers.qwen2(),
        "default_sample_size": 256,
        "prompt_max_tokens": 16,
    }


def _shape() -> dict[str, Any]:
    return {
        "context_in_dim": encoders.WIDTH,
        "hidden_size": 32,
        "mlp_ratio": 2.0,
        "num_heads": 2,
        "depth": 2,
        "axes_dim": [8, 8],
    }


PIPELINES = (
    Tiny("HiDreamImagePipeline", hidream, PARAMS | {"num_inference_steps": 1}),
    Tiny("PRXPipeline", prx, PARAMS),
    Tiny("PRXPixelPipeline", prx_pixel, PARAMS),
)
