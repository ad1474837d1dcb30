"""Families of one, two or three: EasyAnimate, Helios, Latte, Mochi and SANA Video."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from makers import Tiny
from makers.parts import encoders, for_video, tokenizers, vaes

SMALL = {
    "prompt": "a red star moves",
    "height": 16,
    "width": 16,
    "num_frames": 5,
    "num_inference_steps": 2,
    "max_sequence_length": 16,
}


def _t5() -> dict[str, Any]:
    return {"tokenizer": tokenizers.t5(), "text_encoder": encoders.t5_encoder()}


def _mochi() -> dict[str, Any]:
    vae = diffusers.AutoencoderKLMochi(
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    )
    transformer = diffusers.MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        text_embed_dim=encoders.WIDTH,
        time_embed_dim=4,
        max_sequence_length=16,
    )
    return {**_t5(), "scheduler": for_video.flow(), "vae": vae, "transformer": transformer}


def _latte() -> dict[str, Any]:
    transformer = diffusers.LatteTransformer3DModel(
        sample_size=8,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=encoders.WIDTH,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        attention_bias=True,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
        video_length=2,
    )
    return {**_t5(), "vae": vaes.kl(halvings=3), "transformer": transformer, "scheduler": diffusers.DDIMScheduler()}


def _sana() -> dict[str, Any]:
    transformer = diffusers.SanaVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        num_cross_attention_heads=2,
        cross_attention_head_dim=12,
        cross_attention_dim=24,
        caption_channels=encoders.WIDTH,
        sample_size=8,
        rope_max_seq_len=32,
    )
    return {
        "tokenizer": tokenizers.gemma(),
        "text_encoder": encoders.gemma2(),
        "vae": for_video.wan_vae(),
        "transformer": transformer,
        "scheduler": for_video.flow(),
    }


def _easy(channels: int = 4) -> dict[str, Any]:
    transformer = diffusers.EasyAnimateTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=channels,
        out_channels=4,
        patch_size=2,
        sample_width=2,
        sample_height=2,
        num_layers=1,
        mmdit_layers=1,
        time_embed_dim=2,
        text_embed_dim=encoders.WIDTH,
    )
    vae = diffusers.AutoencoderKLMagvit(
        latent_channels=4,
        block_out_channels=[8, 8, 8, 8],
        layers_per_block=1,
        norm_num_groups=2,
        spatial_group_norm=False,
    )
    text = encoders.causal() | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}}
    vision = {"embed_dim": 16, "depth": 1, "num_heads": 2, "hidden_size": encoders.WIDTH, "mlp_ratio": 2}
    config = transformers.Qwen2VLConfig(text_config=text, vision_config=vision)
    return {
        "vae": vae,
        "text_encoder": transformers.Qwen2VLForConditionalGeneration(config),
        "tokenizer": tokenizers.qwen2(),
        "transformer": transformer,
        "scheduler": for_video.flow(),
    }


def helios(**settings: Any) -> dict[str, Any]:
    """Return the parts of a Helios pipeline."""
    transformer = diffusers.HeliosTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=encoders.WIDTH,
        freq_dim=16,
        ffn_dim=16,
        num_layers=1,
        rope_dim=(4, 4, 4),
    )
    return {
        "tokenizer": tokenizers.t5(),
        "text_encoder": encoders.umt5_encoder(),
        "vae": for_video.wan_vae(),
        "scheduler": diffusers.HeliosScheduler(**settings),
        "transformer": transformer,
    }


def helios_in_stages() -> dict[str, Any]:
    """Return the parts of a Helios pipeline that begins with small latents; every stage doubles their sides."""
    return helios(stages=2, stage_range=[0, 0.5, 1], gamma=0.25)


_EASY = {**SMALL, "negative_prompt": "blue"}
_SANA = {
    **SMALL,
    "height": 32,
    "width": 32,
    "frames": 5,
    "use_resolution_binning": False,
    "complex_human_instruction": [],
}

PIPELINES = (
    Tiny("EasyAnimatePipeline", _easy, _EASY),
    # It takes a video as a tensor only, and a mask of one channel.
    Tiny("EasyAnimateInpaintPipeline", lambda: _easy(9), _EASY),
    Tiny("HeliosPipeline", lambda: helios(stages=1), {**SMALL, "num_latent_frames_per_chunk": 2}),
    Tiny(
        "HeliosPyramidPipeline",
        helios_in_stages,
        {
            **SMALL,
            "height": 32,
            "width": 32,
            "num_latent_frames_per_chunk": 2,
            "pyramid_num_inference_steps_list": [2, 2],
        },
    ),
    Tiny("LattePipeline", _latte, {**SMALL, "video_length": 2, "clean_caption": False}),
    Tiny("MochiPipeline", _mochi, {**SMALL, "num_frames": 7}),
    Tiny("SanaVideoPipeline", _sana, _SANA),
    Tiny("SanaImageToVideoPipeline", _sana, _SANA),
)
