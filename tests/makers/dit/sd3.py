"""Stable Diffusion 3: a transformer over images and words at once, with two CLIP encoders and a T5 encoder."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

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

#: Channels of a latent; inpainting takes no other number.
LATENTS = 16


def parts() -> dict[str, Any]:
    """Return what a Stable Diffusion 3 pipeline is made of."""
    return {
        "transformer": diffusers.SD3Transformer2DModel(**_shape(), out_channels=LATENTS),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
        "vae": vaes.flow(LATENTS),
        "text_encoder": encoders.clip_text_with_projection(),
        "tokenizer": tokenizers.clip(),
        "text_encoder_2": encoders.clip_text_with_projection(),
        "tokenizer_2": tokenizers.clip(),
        "text_encoder_3": encoders.t5_encoder(2 * encoders.WIDTH),
        "tokenizer_3": tokenizers.t5(),
    }


def with_control(*, masked: bool = False) -> dict[str, Any]:
    """Return the parts with a ControlNet; one for inpainting sees a mask beside the latents."""
    net = diffusers.SD3ControlNetModel(
        **(_shape() | {"num_layers": 1}), out_channels=LATENTS, extra_conditioning_channels=int(masked)
    )
    return parts() | {"controlnet": net}


def _shape() -> dict[str, Any]:
    return {
        "sample_size": 16,
        "patch_size": 2,
        "in_channels": LATENTS,
        "num_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 4,
        "joint_attention_dim": 2 * encoders.WIDTH,
        "caption_projection_dim": 32,
        "pooled_projection_dim": 2 * encoders.WIDTH,
        "pos_embed_max_size": 32,
    }


PIPELINES = (
    Tiny("StableDiffusion3Pipeline", parts, PARAMS),
    Tiny("StableDiffusion3Img2ImgPipeline", parts, PARAMS | IMAGE),
    Tiny("StableDiffusion3InpaintPipeline", parts, PARAMS | MASKED),
    Tiny("StableDiffusion3ControlNetPipeline", with_control, PARAMS | {"control_image": "sample:image:32x32"}),
    Tiny(
        "StableDiffusion3ControlNetInpaintingPipeline",
        partial(with_control, masked=True),
        PARAMS | {"control_image": "sample:image:32x32", "control_mask": "sample:mask:32x32"},
    ),
    # Which layers are perturbed is not saved: the second block, as the class has it, is the only choice that lasts.
    Tiny("StableDiffusion3PAGPipeline", parts, PARAMS),
    Tiny("StableDiffusion3PAGImg2ImgPipeline", parts, PARAMS | IMAGE),
)
