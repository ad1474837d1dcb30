"""Flux: a rectified-flow transformer over packed latents, guided by CLIP and T5; its controls, its fill and its prior."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import transformers
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder

from makers import Tiny
from makers.parts import encoders, tokenizers, vaes

#: What every call of the family is told.
PARAMS = {
    "prompt": "a red star",
    "num_inference_steps": 2,
    "height": 32,
    "width": 32,
    "max_sequence_length": 16,
    "strength": 0.9,
}

IMAGE = {"image": "sample:image:32x32"}
MASKED = IMAGE | {"mask_image": "sample:mask:32x32"}
STEERED = {"control_image": "sample:image:32x32"}

#: Channels of a latent; four latents are packed into one token.
LATENTS = 4


def transformer(channels: int = 4 * LATENTS, **settings: Any) -> Any:
    """Return a Flux transformer that takes tokens of this many numbers."""
    shape = _shape(channels) | {"out_channels": 4 * LATENTS, "guidance_embeds": True}
    return diffusers.FluxTransformer2DModel(**(shape | settings))


def parts(channels: int = 4 * LATENTS) -> dict[str, Any]:
    """Return what a Flux pipeline is made of."""
    return {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": vaes.flow(LATENTS, sample_size=32),
        "text_encoder": encoders.clip_text(),
        "tokenizer": tokenizers.clip(),
        "text_encoder_2": encoders.t5_encoder(),
        "tokenizer_2": tokenizers.t5(),
        "transformer": transformer(channels),
    }


def with_control() -> dict[str, Any]:
    """Return what a Flux pipeline with a ControlNet is made of."""
    return parts() | {"controlnet": diffusers.FluxControlNetModel(**_shape(4 * LATENTS), guidance_embeds=True)}


def prior() -> dict[str, Any]:
    """Return what the Redux prior is made of, which turns images into the words of a Flux pipeline."""
    words = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    return {name: part for name, part in parts().items() if name in words} | {
        "image_encoder": encoders.siglip_vision(),
        "feature_extractor": transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32}),
        "image_embedder": ReduxImageEncoder(redux_dim=encoders.WIDTH, txt_in_features=encoders.WIDTH),
    }


def _shape(channels: int) -> dict[str, Any]:
    return {
        "in_channels": channels,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": encoders.WIDTH,
        "pooled_projection_dim": encoders.WIDTH,
        "axes_dims_rope": (4, 4, 8),
    }


#: A fill sees the latents, those of the masked image, and a mask of 2 by 2 pixels for each latent of a token.
FILL = partial(parts, 4 * (2 * LATENTS + 4))

#: A control is laid beside the latents.
CONTROL = partial(parts, 2 * 4 * LATENTS)

PIPELINES = (
    Tiny("FluxPipeline", parts, PARAMS),
    Tiny("FluxImg2ImgPipeline", parts, PARAMS | IMAGE),
    Tiny("FluxInpaintPipeline", parts, PARAMS | MASKED),
    Tiny("FluxFillPipeline", FILL, PARAMS | MASKED),
    Tiny("FluxControlPipeline", CONTROL, PARAMS | STEERED),
    Tiny("FluxControlImg2ImgPipeline", CONTROL, PARAMS | IMAGE | STEERED),
    Tiny("FluxControlInpaintPipeline", CONTROL, PARAMS | MASKED | STEERED),
    Tiny("FluxControlNetPipeline", with_control, PARAMS | STEERED),
    Tiny("FluxControlNetImg2ImgPipeline", with_control, PARAMS | IMAGE | STEERED),
    Tiny("FluxControlNetInpaintPipeline", with_control, PARAMS | MASKED | STEERED),
    Tiny("FluxKontextPipeline", parts, PARAMS | IMAGE | {"max_area": 1024, "_auto_resize": False}),
    Tiny("FluxKontextInpaintPipeline", parts, PARAMS | MASKED | {"max_area": 1024, "_auto_resize": False}),
    Tiny("FluxPriorReduxPipeline", prior, IMAGE | {"prompt": "a red star"}),
)
