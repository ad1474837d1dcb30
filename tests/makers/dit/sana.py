"""Sana: linear attention over latents of a deep autoencoder, told of words by Gemma."""

from __future__ import annotations

from typing import Any

import diffusers

from makers import Tiny
from makers.parts import autoencoders, encoders, tokenizers

#: What every call is told.
PARAMS = {
    "prompt": "a red star",
    "num_inference_steps": 2,
    "height": 32,
    "width": 32,
    "max_sequence_length": 16,
    "use_resolution_binning": False,
    "complex_human_instruction": ["Describe it:"],
}

#: Channels of a latent.
LATENTS = 8


def parts(**settings: Any) -> dict[str, Any]:
    """Return what a Sana pipeline is made of."""
    return {
        "tokenizer": tokenizers.gemma(),
        "text_encoder": encoders.gemma2(),
        "vae": autoencoders.deep(LATENTS),
        "transformer": diffusers.SanaTransformer2DModel(**(_shape() | {"out_channels": LATENTS} | settings)),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


def sprint() -> dict[str, Any]:
    """Return the parts of a pipeline that needs few steps: its guidance is embedded."""
    return parts(guidance_embeds=True, qk_norm="rms_norm_across_heads") | {"scheduler": diffusers.SCMScheduler()}


def with_control() -> dict[str, Any]:
    """Return the parts with a ControlNet."""
    return parts() | {"controlnet": diffusers.SanaControlNetModel(**(_shape() | {"num_layers": 1}))}


def _shape() -> dict[str, Any]:
    return {
        "in_channels": LATENTS,
        "num_attention_heads": 4,
        "attention_head_dim": 8,
        "num_layers": 2,
        "num_cross_attention_heads": 4,
        "cross_attention_head_dim": 8,
        "cross_attention_dim": 32,
        "caption_channels": encoders.WIDTH,
        "mlp_ratio": 2.0,
        "sample_size": 16,
    }


PIPELINES = (
    Tiny("SanaPipeline", parts, PARAMS),
    Tiny("SanaPAGPipeline", parts, PARAMS),
    Tiny("SanaControlNetPipeline", with_control, PARAMS | {"control_image": "sample:image:32x32"}),
    Tiny("SanaSprintPipeline", sprint, PARAMS),
    Tiny("SanaSprintImg2ImgPipeline", sprint, PARAMS | {"image": "sample:image:32x32", "strength": 0.9}),
)
