"""Flux 2 and those that share its autoencoder: Klein and Ernie."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from makers import Tiny
from makers.parts import autoencoders, encoders, language, tokenizers

#: What every call is told.
PARAMS = {
    "prompt": "a red star",
    "num_inference_steps": 2,
    "height": 32,
    "width": 32,
    "strength": 0.9,
    "max_sequence_length": 64,
    "text_encoder_out_layers": [0, 1, 2],
}

#: The smallest image that the family takes.
IMAGE = {"image": "sample:image:64x64"}

#: Channels of a latent; four latents are packed into one token.
LATENTS = 4


def flux_2() -> dict[str, Any]:
    """Return what a Flux 2 pipeline is made of; a tokenizer stands in for its processor, which needs torchvision."""
    return _parts(guidance_embeds=True) | {"text_encoder": language.mistral3(), "tokenizer": tokenizers.qwen2()}


def klein(*, distilled: bool = False) -> dict[str, Any]:
    """Return what a Flux 2 Klein pipeline is made of."""
    words = {"text_encoder": encoders.qwen3(), "tokenizer": tokenizers.qwen2()}
    return _parts(guidance_embeds=False) | words | {"is_distilled": distilled}


def ernie() -> dict[str, Any]:
    """Return what an Ernie pipeline is made of, without the model that rewrites prompts."""
    transformer = diffusers.ErnieImageTransformer2DModel(
        hidden_size=32,
        num_attention_heads=2,
        num_layers=2,
        ffn_hidden_size=32,
        in_channels=4 * LATENTS,
        out_channels=4 * LATENTS,
        text_in_dim=encoders.WIDTH,
        rope_axes_dim=(4, 4, 8),
    )
    words = {"text_encoder": language.mistral3_body(), "tokenizer": tokenizers.qwen2()}
    return _parts() | words | {"transformer": transformer, "scheduler": diffusers.FlowMatchEulerDiscreteScheduler()}


def _parts(**settings: Any) -> dict[str, Any]:
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=4 * LATENTS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * encoders.WIDTH,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        **settings,
    )
    return {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": autoencoders.flux_2(LATENTS),
        "transformer": transformer,
    }


PIPELINES = (
    # What the model is told of its task comes first, in 1 token for each letter.
    Tiny("Flux2Pipeline", flux_2, PARAMS | IMAGE | {"max_sequence_length": 384}),
    Tiny("Flux2KleinPipeline", klein, PARAMS | IMAGE),
    Tiny("Flux2KleinKVPipeline", partial(klein, distilled=True), PARAMS | IMAGE),
    Tiny("Flux2KleinInpaintPipeline", klein, PARAMS | IMAGE | {"mask_image": "sample:mask"}),
    Tiny("ErnieImagePipeline", ernie, PARAMS),
)
