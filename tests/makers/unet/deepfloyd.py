"""DeepFloyd IF: a T5 encoder and UNets over pixels."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, tokenizers, unets
from makers.parts.encoders import WIDTH
from makers.parts.making import maker

#: A call that is over at once.
CALL = {
    "prompt": "a red star",
    "num_inference_steps": 2,
    "height": 16,
    "width": 16,
    "guidance_scale": 4.0,
    "clean_caption": False,
    "strength": 0.8,
}


def unet(channels: int = 3, **settings: Any) -> Any:
    """Return a UNet over pixels that foretells a noise and its variance."""
    shape: dict[str, Any] = {
        "out_channels": 6,
        "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 2,
        "cross_attention_norm": "group_norm",
        "encoder_hid_dim": WIDTH,
        "resnet_time_scale_shift": "scale_shift",
        "act_fn": "gelu",
    }
    return unets.conditional(channels, **(shape | settings))


def noise(**settings: Any) -> Any:
    """Return the scheduler of a UNet."""
    shape: dict[str, Any] = {
        "beta_schedule": "squaredcos_cap_v2",
        "variance_type": "learned_range",
        "thresholding": True,
        "dynamic_thresholding_ratio": 0.95,
        "sample_max_value": 1.0,
    }
    return diffusers.DDPMScheduler(**(shape | settings))


def watermarker() -> Any:
    """Return what puts a mark on an image; the mark of this one cannot be seen."""
    from diffusers.pipelines.deepfloyd_if import IFWatermarker  # noqa: PLC0415

    return IFWatermarker()


#: What the first stage is made of.
PARTS: dict[str, Any] = {
    "tokenizer": partial(tokenizers.t5, 77),
    "text_encoder": encoders.t5_encoder,
    "unet": unet,
    "scheduler": noise,
    "safety_checker": None,
    "feature_extractor": None,
    "watermarker": None,
    "requires_safety_checker": False,
}

#: What the second stage, which makes an image larger, has instead.
LARGER = PARTS | {
    "unet": partial(unet, 6, class_embed_type="timestep", sample_size=32),
    "image_noising_scheduler": partial(noise, variance_type="fixed_small"),
}

#: How the second stage is called.
ENLARGE = CALL | {"height": 32, "width": 32, "noise_level": 100, "image": "sample:image:16x16"}

#: The same where there is a larger image too.
ENLARGE_LIKE = ENLARGE | {"original_image": "sample:image:32x32"}

PIPELINES = (
    Tiny("IFPipeline", maker(PARTS), CALL),
    Tiny("IFImg2ImgPipeline", maker(PARTS), CALL),
    Tiny("IFInpaintingPipeline", maker(PARTS), CALL),
    Tiny("IFSuperResolutionPipeline", maker(LARGER), ENLARGE),
    Tiny("IFImg2ImgSuperResolutionPipeline", maker(LARGER, watermarker=watermarker), ENLARGE_LIKE),
    Tiny("IFInpaintingSuperResolutionPipeline", maker(LARGER), ENLARGE_LIKE | {"mask_image": "sample:mask:32x32"}),
)
