"""Wuerstchen and Stable Cascade: a prior over a very small picture, then a decoder of two steps."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, tokenizers
from makers.parts.encoders import WIDTH
from makers.parts.making import maker

#: A call that is over at once.
CALL = {
    "prompt": "a red star",
    "num_inference_steps": 2,
    "prior_num_inference_steps": 2,
    "height": 128,
    "width": 128,
    "guidance_scale": 3.0,
}

#: Numbers of the small picture that a prior gives: 3 x 3 of 16 channels.
EMBEDDED = {"image_embeddings": [[[[0.1] * 3] * 3] * 16]}


def paella() -> Any:
    """Return the autoencoder: a latent is a fourth as high as its picture."""
    from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel  # noqa: PLC0415

    return PaellaVQModel(bottleneck_blocks=1, embed_dim=16, num_vq_embeddings=16)


def old_prior() -> Any:
    """Return the prior of Wuerstchen."""
    from diffusers.pipelines.deprecated.wuerstchen import WuerstchenPrior  # noqa: PLC0415

    return WuerstchenPrior(c_in=16, c=16, c_cond=WIDTH, c_r=8, depth=1, nhead=2)


def old_decoder() -> Any:
    """Return the decoder of Wuerstchen."""
    from diffusers.pipelines.deprecated.wuerstchen import WuerstchenDiffNeXt  # noqa: PLC0415

    return WuerstchenDiffNeXt(
        c_cond=WIDTH,
        c_hidden=[16, 32],
        nhead=[-1, 2],
        blocks=[1, 1],
        level_config=["CT", "CTA"],
        inject_effnet=[False, True],
        clip_embd=WIDTH,
    )


def unet(**settings: Any) -> Any:
    """Return a UNet of Stable Cascade: a prior, if nothing else is said."""
    shape: dict[str, Any] = {
        "timestep_ratio_embedding_dim": 16,
        "conditioning_dim": 16,
        "block_out_channels": (16, 16),
        "num_attention_heads": (2, 2),
        "down_num_layers_per_block": (1, 1),
        "up_num_layers_per_block": (1, 1),
        "clip_text_in_channels": WIDTH,
        "clip_text_pooled_in_channels": WIDTH,
        "clip_image_in_channels": WIDTH,
        "switch_level": (False,),
    }
    return diffusers.StableCascadeUNet(**(shape | settings))


#: A UNet that decodes: it takes what a prior gave beside the noise.
decoder = partial(
    unet,
    in_channels=4,
    out_channels=4,
    patch_size=2,
    clip_text_in_channels=None,
    clip_image_in_channels=None,
    effnet_in_channels=16,
    pixel_mapper_in_channels=3,
    timestep_conditioning_type=("sca",),
    switch_level=None,
)

#: What a decoder of Wuerstchen is made of.
OLD: dict[str, Any] = {
    "tokenizer": tokenizers.clip,
    "text_encoder": encoders.clip_text,
    "decoder": old_decoder,
    "scheduler": diffusers.DDPMWuerstchenScheduler,
    "vqgan": paella,
}

#: What a prior of Wuerstchen is made of.
OLD_PRIOR: dict[str, Any] = {
    "tokenizer": tokenizers.clip,
    "text_encoder": encoders.clip_text,
    "prior": old_prior,
    "scheduler": diffusers.DDPMWuerstchenScheduler,
}

#: The same of Stable Cascade.
NEW = OLD | {"text_encoder": encoders.clip_text_with_projection, "decoder": decoder}
NEW_PRIOR = OLD_PRIOR | {
    "text_encoder": encoders.clip_text_with_projection,
    "prior": unet,
    "feature_extractor": encoders.clip_pictures,
    "image_encoder": encoders.clip_vision_with_projection,
}


def whole(parts: dict[str, Any], prior: dict[str, Any]) -> dict[str, Any]:
    """Return what a prior and a decoder in one are made of."""
    return parts | {f"prior_{name}": part for name, part in prior.items()}


PIPELINES = (
    Tiny("WuerstchenPriorPipeline", maker(OLD_PRIOR), CALL),
    Tiny("WuerstchenDecoderPipeline", maker(OLD), CALL | EMBEDDED),
    Tiny("WuerstchenCombinedPipeline", maker(whole(OLD, OLD_PRIOR)), CALL),
    Tiny("StableCascadePriorPipeline", maker(NEW_PRIOR), CALL),
    Tiny("StableCascadeDecoderPipeline", maker(NEW), CALL | EMBEDDED),
    Tiny("StableCascadeCombinedPipeline", maker(whole(NEW, NEW_PRIOR)), CALL),
)
