"""Families that are told of words by Qwen3-VL or SmolLM 3: Krea 2, Ideogram 4, Nucleus, Bria Fibo, DreamLite."""

from __future__ import annotations

from typing import Any

import diffusers

from makers import Tiny
from makers.parts import autoencoders, encoders, language, tokenizers, vaes

#: What every call is told.
PARAMS = {
    "prompt": "a red star",
    "num_inference_steps": 2,
    "height": 32,
    "width": 32,
    "max_sequence_length": 128,
}

#: What an edit is told: its words are JSON. An empty text would become a token that only the whole vocabulary has.
EDIT = PARAMS | {
    "prompt": '{"edit_instruction": "make it red"}',
    "negative_prompt": '{"edit_instruction": "make it blue"}',
    "image": "sample:image:64x64",
    "height": 64,
    "width": 64,
    "_auto_resize": False,
}

#: What Ideogram is told: a scale of guidance for each step.
STEPS = PARAMS | {"guidance_schedule": [3.0, 3.0]}

#: Channels of a latent of most of them.
LATENTS = 4


def krea_2() -> dict[str, Any]:
    """Return what a Krea 2 pipeline is made of, which reads 12 of the first 36 layers of its language model."""
    transformer = diffusers.Krea2Transformer2DModel(
        in_channels=4 * LATENTS,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        timestep_embed_dim=16,
        text_hidden_dim=encoders.WIDTH,
        num_text_layers=12,
        text_num_attention_heads=2,
        text_num_key_value_heads=2,
        text_intermediate_size=32,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 4, 8),
    )
    return {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": autoencoders.qwen(LATENTS),
        "text_encoder": language.qwen3_vl_body(num_hidden_layers=36),
        "tokenizer": tokenizers.qwen2(),
        "transformer": transformer,
    }


def ideogram_4() -> dict[str, Any]:
    """Return what an Ideogram 4 pipeline is made of, which reads 13 of the first 36 layers of its language model."""
    return {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
        "vae": autoencoders.flux_2(LATENTS),
        "text_encoder": language.qwen3_vl_body(num_hidden_layers=36),
        "tokenizer": tokenizers.qwen2(),
        "transformer": _ideogram_transformer(),
        "unconditional_transformer": _ideogram_transformer(),
    }


def nucleus() -> dict[str, Any]:
    """Return what a Nucleus pipeline is made of; a tokenizer stands in for its processor, which needs torchvision."""
    transformer = diffusers.NucleusMoEImageTransformer2DModel(
        patch_size=2,
        in_channels=4 * LATENTS,
        out_channels=LATENTS,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        joint_attention_dim=encoders.WIDTH,
        axes_dims_rope=(4, 4, 8),
        mlp_ratio=2.0,
        dense_moe_strategy="leave_first_block_dense",
        num_experts=2,
        moe_intermediate_dim=16,
        capacity_factors=[1.0, 1.0],
    )
    return {
        "transformer": transformer,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": autoencoders.qwen(LATENTS),
        # The layer that is read is the last but seven.
        "text_encoder": language.qwen3_vl(num_hidden_layers=8),
        "processor": tokenizers.qwen2(),
    }


def fibo() -> dict[str, Any]:
    """Return what a Bria Fibo pipeline is made of; its latents are sixteen times smaller than its images."""
    transformer = diffusers.BriaFiboTransformer2DModel(
        in_channels=LATENTS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=2 * encoders.WIDTH,
        axes_dims_rope=(4, 4, 8),
        text_encoder_dim=encoders.WIDTH,
    )
    vae = diffusers.AutoencoderKLWan(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=LATENTS,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * LATENTS,
        latents_std=[1.0] * LATENTS,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
    )
    return {
        "transformer": transformer,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": vae,
        "text_encoder": language.smollm3(),
        "tokenizer": tokenizers.qwen2(),
    }


def fibo_2() -> dict[str, Any]:
    """Return what a Bria Fibo 2 pipeline is made of; a tokenizer stands in for its processor, which needs torchvision.

    Six times it reads three of the first 36 layers of its language model.
    """
    transformer = diffusers.BriaFibo2Transformer2DModel(
        in_channels=LATENTS,
        dim=32,
        n_layers=5,
        n_refiner_layers=1,
        n_heads=2,
        cap_feat_dim=3 * encoders.WIDTH,
        injection_layer_ids=(0, 1, 2, 3, 4),
        perceiver_num_layers=1,
        min_num_gist_tokens=4,
        max_num_gist_tokens=8,
        gist_step=4,
        gist_min_text_len=4,
        gist_max_text_len=64,
        axes_dims=(4, 4, 8),
        axes_lens=(512, 64, 64),
    )
    return {
        "transformer": transformer,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": autoencoders.flux_2(LATENTS),
        "text_encoder": language.qwen3_vl(num_hidden_layers=36),
        "processor": tokenizers.qwen2(),
    }


def dreamlite() -> dict[str, Any]:
    """Return what a DreamLite pipeline is made of; a tokenizer stands in for its processor, which needs torchvision."""
    unet = diffusers.DreamLiteUNetModel(
        sample_size=16,
        in_channels=LATENTS,
        out_channels=LATENTS,
        block_out_channels=(16, 16, 32),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=encoders.WIDTH,
        attention_head_dim=8,
        ff_mult=2,
    )
    return {
        "text_encoder": language.qwen3_vl(),
        "tokenizer": tokenizers.qwen2(),
        "processor": tokenizers.qwen2(),
        "vae": vaes.tiny(LATENTS),
        "unet": unet,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    }


def _ideogram_transformer() -> Any:
    return diffusers.Ideogram4Transformer2DModel(
        in_channels=4 * LATENTS,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        intermediate_size=32,
        adaln_dim=16,
        llm_features_dim=13 * encoders.WIDTH,
        mrope_section=(4, 2, 2),
    )


PIPELINES = (
    Tiny("Krea2Pipeline", krea_2, PARAMS),
    Tiny("Ideogram4Pipeline", ideogram_4, STEPS),
    Tiny("NucleusMoEImagePipeline", nucleus, PARAMS),
    # An empty text becomes a token that only the whole vocabulary has.
    Tiny("BriaFiboPipeline", fibo, PARAMS | {"height": 64, "width": 64, "negative_prompt": "a moon"}),
    Tiny("BriaFiboEditPipeline", fibo, EDIT),
    Tiny("BriaFibo2Pipeline", fibo_2, PARAMS),
    Tiny("DreamLitePipeline", dreamlite, PARAMS),
    Tiny("DreamLiteMobilePipeline", dreamlite, PARAMS),
)
