"""Stable Cascade and Würstchen: a prior over a very small image, and a decoder of what it makes."""

from __future__ import annotations

from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, tokenizers
from makers.parts.encoders import WIDTH
from makers.parts.making import maker

#: Channels of the very small image.
SMALL = 16

#: A call that is over at once; the small image has 3x3 pixels.
CALL: dict[str, Any] = {"prompt": "a red star", "num_inference_steps": 2}
SIZES = {"height": 128, "width": 128}

#: What a prior gives.
EMBEDDED = {"image_embeddings": [[[[0.1, -0.2, 0.3]] * 3] * SMALL]}


def prior() -> Any:
    """Return the UNet of Stable Cascade's prior."""
    return diffusers.StableCascadeUNet(
        timestep_ratio_embedding_dim=16,
        conditioning_dim=16,
        block_out_channels=(16, 16),
        num_attention_heads=(2, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        clip_text_in_channels=WIDTH,
        clip_text_pooled_in_channels=WIDTH,
        clip_image_in_channels=WIDTH,
        switch_level=(False,),
    )


def decoder() -> Any:
    """Return the UNet of Stable Cascade's decoder."""
    return diffusers.StableCascadeUNet(
        in_channels=4,
        out_channels=4,
        patch_size=2,
        timestep_ratio_embedding_dim=16,
        conditioning_dim=16,
        block_out_channels=(16, 16),
        num_attention_heads=(-1, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        block_types_per_layer=(
            ("SDCascadeResBlock", "SDCascadeTimestepBlock"),
            ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
        ),
        clip_text_pooled_in_channels=WIDTH,
        effnet_in_channels=SMALL,
        timestep_conditioning_type=("sca",),
    )


def vqgan() -> Any:
    """Return the autoencoder of both."""
    from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel  # noqa: PLC0415

    return PaellaVQModel(bottleneck_blocks=1, embed_dim=16, num_vq_embeddings=8)


def old_prior() -> Any:
    """Return the prior of Würstchen."""
    from diffusers.pipelines.deprecated.wuerstchen import WuerstchenPrior  # noqa: PLC0415

    prior = WuerstchenPrior(c_in=SMALL, c=16, c_cond=WIDTH, c_r=16, depth=1, nhead=2)
    # It divides by the distance of half of its output to one, which is not to be close to none.
    prior.out[1].weight.data *= 0.1
    return prior


def old_decoder() -> Any:
    """Return the decoder of Würstchen."""
    from diffusers.pipelines.deprecated.wuerstchen import WuerstchenDiffNeXt  # noqa: PLC0415

    return WuerstchenDiffNeXt(
        c_r=16,
        c_cond=16,
        c_hidden=[16, 16],
        nhead=[-1, 2],
        blocks=[1, 1],
        level_config=["CT", "CTA"],
        inject_effnet=[False, True],
        effnet_embd=SMALL,
        clip_embd=WIDTH,
    )


#: The parts of each pipeline.
PRIOR: dict[str, Any] = {
    "tokenizer": tokenizers.clip,
    "text_encoder": encoders.clip_text_with_projection,
    "prior": prior,
    "scheduler": diffusers.DDPMWuerstchenScheduler,
    "feature_extractor": encoders.clip_images,
    "image_encoder": encoders.clip_vision_with_projection,
}
DECODER: dict[str, Any] = {
    "tokenizer": tokenizers.clip,
    "text_encoder": encoders.clip_text_with_projection,
    "decoder": decoder,
    "scheduler": diffusers.DDPMWuerstchenScheduler,
    "vqgan": vqgan,
}
OLD_PRIOR: dict[str, Any] = {
    "tokenizer": tokenizers.clip,
    "text_encoder": encoders.clip_text,
    "prior": old_prior,
    "scheduler": diffusers.DDPMWuerstchenScheduler,
}
OLD_DECODER = DECODER | {"text_encoder": encoders.clip_text, "decoder": old_decoder}


def combined(first: dict[str, Any], second: dict[str, Any]) -> Any:
    """Return what makes the parts of a pipeline of both."""
    return maker(second, **{f"prior_{name}": part for name, part in first.items()})


#: The parameters of a pipeline of both.
BOTH = CALL | SIZES | {"prior_num_inference_steps": 2, "prior_guidance_scale": 3.0}

PIPELINES = (
    Tiny("StableCascadePriorPipeline", maker(PRIOR), CALL | SIZES | {"guidance_scale": 3.0}),
    Tiny("StableCascadeDecoderPipeline", maker(DECODER), CALL | EMBEDDED),
    Tiny("StableCascadeCombinedPipeline", combined(PRIOR, DECODER), BOTH),
    Tiny("WuerstchenPriorPipeline", maker(OLD_PRIOR), CALL | SIZES | {"guidance_scale": 3.0}),
    Tiny("WuerstchenDecoderPipeline", maker(OLD_DECODER), CALL | EMBEDDED),
    Tiny("WuerstchenCombinedPipeline", combined(OLD_PRIOR, OLD_DECODER), BOTH),
)
