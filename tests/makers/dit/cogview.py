"""CogView 3 Plus, CogView 4 and AuraFlow: words and an image run side by side through each block."""

from __future__ import annotations

from functools import partial
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
}

#: Channels of a latent.
LATENTS = 4


def cogview_3() -> dict[str, Any]:
    """Return what a CogView 3 Plus pipeline is made of."""
    return {
        "tokenizer": tokenizers.t5(),
        "text_encoder": encoders.t5_encoder(),
        "vae": vaes.kl(LATENTS),
        "transformer": diffusers.CogView3PlusTransformer2DModel(**_shape(), pos_embed_max_size=16),
        "scheduler": diffusers.CogVideoXDDIMScheduler(),
    }


def cogview_4(channels: int = LATENTS) -> dict[str, Any]:
    """Return what a CogView 4 pipeline is made of; its transformer takes this many channels."""
    transformer = diffusers.CogView4Transformer2DModel(
        **(_shape() | {"in_channels": channels}), rope_axes_dim=(16, 16), pos_embed_max_size=16
    )
    return {
        "tokenizer": tokenizers.llama(add_bos_token=True),
        "text_encoder": language.glm(),
        "vae": vaes.kl(LATENTS),
        "transformer": transformer,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type="linear"),
    }


def aura_flow() -> dict[str, Any]:
    """Return what an AuraFlow pipeline is made of."""
    transformer = diffusers.AuraFlowTransformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=LATENTS,
        out_channels=LATENTS,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=encoders.WIDTH,
        caption_projection_dim=32,
        pos_embed_max_size=256,
    )
    return {
        "tokenizer": tokenizers.t5(),
        "text_encoder": encoders.umt5_encoder(),
        "vae": vaes.kl(LATENTS),
        "transformer": transformer,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
    }


def _shape() -> dict[str, Any]:
    return {
        "patch_size": 2,
        "in_channels": LATENTS,
        "out_channels": LATENTS,
        "num_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 4,
        "text_embed_dim": encoders.WIDTH,
        "time_embed_dim": 16,
        "condition_dim": 8,
        "sample_size": 16,
    }


STEERED = partial(cogview_4, 2 * LATENTS)

PIPELINES = (
    Tiny("CogView3PlusPipeline", cogview_3, PARAMS),
    Tiny("CogView4Pipeline", cogview_4, PARAMS),
    Tiny("CogView4ControlPipeline", STEERED, PARAMS | {"control_image": "sample:image:32x32"}),
    Tiny("AuraFlowPipeline", aura_flow, PARAMS),
)
