"""Stable Diffusion XL and its siblings."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, schedulers, tokenizers, unets, vaes
from makers.parts.making import maker
from makers.unet.stable_diffusion import CALL
from makers.unet.stable_diffusion_guided import adapter, controlnet_xs

#: What it is made of; there is no watermark because that is a package of its own.
PARTS: dict[str, Any] = {
    "vae": vaes.kl,
    "text_encoder": encoders.clip_text,
    "text_encoder_2": encoders.clip_text_with_projection,
    "tokenizer": tokenizers.clip,
    "tokenizer_2": tokenizers.clip,
    "unet": unets.large,
    "scheduler": schedulers.euler,
    "add_watermarker": False,
}

#: What the ControlNets of this family share with the UNet.
LARGE = unets.LARGE


def controlnet_union(**settings: Any) -> Any:
    """Return a ControlNet of six kinds of control."""
    shape: dict[str, Any] = {"conditioning_embedding_out_channels": (4, 8), "num_control_type": 6}
    width = unets.LEVELS[0]
    layers = {"num_trans_channel": width, "num_proj_channel": width, "num_trans_head": 2, "num_trans_layer": 1}
    return diffusers.ControlNetUnionModel(**(LARGE | shape | layers | settings))


def of(name: str, *without: str, params: dict[str, Any] | None = None, **other: Any) -> Tiny:
    """Return a member of this family: what it lacks, what it has instead, and how it is called."""
    return Tiny(name, maker(PARTS, *without, **other), CALL | (params or {}))


controlled = partial(of, controlnet=partial(unets.controlnet, **LARGE))
united = partial(of, controlnet=controlnet_union)

PIPELINES = (
    of("StableDiffusionXLPipeline"),
    of("StableDiffusionXLImg2ImgPipeline", params={"strength": 0.8}),
    of("StableDiffusionXLInpaintPipeline"),
    of("StableDiffusionXLInstructPix2PixPipeline", unet=partial(unets.large, 8)),
    of("StableDiffusionXLPAGPipeline"),
    of("StableDiffusionXLPAGImg2ImgPipeline", params={"strength": 0.8}),
    of("StableDiffusionXLPAGInpaintPipeline"),
    controlled("StableDiffusionXLControlNetPipeline"),
    controlled("StableDiffusionXLControlNetImg2ImgPipeline"),
    controlled("StableDiffusionXLControlNetInpaintPipeline", params={"control_image": "sample:image"}),
    controlled("StableDiffusionXLControlNetPAGPipeline"),
    controlled("StableDiffusionXLControlNetPAGImg2ImgPipeline"),
    united("StableDiffusionXLControlNetUnionPipeline", params={"control_image": ["sample:image"], "control_mode": [0]}),
    united(
        "StableDiffusionXLControlNetUnionImg2ImgPipeline",
        params={"control_image": ["sample:image"], "control_mode": [3]},
    ),
    united(
        "StableDiffusionXLControlNetUnionInpaintPipeline",
        params={"control_image": ["sample:image"], "control_mode": [5]},
    ),
    of(
        "StableDiffusionXLControlNetXSPipeline",
        controlnet=partial(
            controlnet_xs,
            down_block_types=LARGE["down_block_types"],
            cross_attention_dim=LARGE["cross_attention_dim"],
            transformer_layers_per_block=(1, 1),
        ),
        unet=partial(unets.large, attention_head_dim=4, layers_per_block=2),
    ),
    of(
        "StableDiffusionXLAdapterPipeline",
        "add_watermarker",
        adapter=partial(adapter, adapter_type="full_adapter_xl", downscale_factor=4),
    ),
)
