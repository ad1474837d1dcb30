"""Stable Diffusion 1 and 2, and what others made of it with the same parts."""

from __future__ import annotations

from functools import partial
from typing import Any

import transformers
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker

from makers import Tiny
from makers.parts import encoders, schedulers, tokenizers, unets, vaes
from makers.parts.making import maker

#: A call that is over at once.
CALL = {"prompt": "a red star", "num_inference_steps": 2, "height": 32, "width": 32, "guidance_scale": 5.0}

#: What Stable Diffusion is made of.
PARTS: dict[str, Any] = {
    "vae": vaes.kl,
    "text_encoder": encoders.clip_text,
    "tokenizer": tokenizers.clip,
    "unet": unets.conditional,
    "scheduler": schedulers.ddim,
    "safety_checker": None,
    "feature_extractor": None,
    "requires_safety_checker": False,
}


def safety_checker() -> StableDiffusionSafetyChecker:
    """Return a safety checker that lets everything pass."""
    return StableDiffusionSafetyChecker(encoders.clip_config())


def depth_estimator() -> Any:
    """Return an estimator of depth over images of 32x32."""
    config = transformers.DPTConfig(
        image_size=32,
        patch_size=16,
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        fusion_hidden_size=16,
        neck_hidden_sizes=[16, 16, 16, 16],
        backbone_out_indices=[0, 1, 2, 3],
        backbone_config=None,
        is_hybrid=False,
    )
    return transformers.DPTForDepthEstimation(config)


def of(name: str, *without: str, params: dict[str, Any] | None = None, **other: Any) -> Tiny:
    """Return a member of this family: what it lacks, what it has instead, and how it is called."""
    return Tiny(name, maker(PARTS, *without, **other), CALL | (params or {}))


#: What has no switch for the safety checker.
SAFELESS = ("safety_checker", "feature_extractor", "requires_safety_checker")

PIPELINES = (
    of(
        "StableDiffusionPipeline",
        safety_checker=safety_checker,
        feature_extractor=encoders.clip_images,
        requires_safety_checker=True,
    ),
    of("StableDiffusionImg2ImgPipeline"),
    of("StableDiffusionInpaintPipeline", unet=partial(unets.conditional, 9)),
    of("StableDiffusionInstructPix2PixPipeline", unet=partial(unets.conditional, 8)),
    of(
        "StableDiffusionImageVariationPipeline",
        "text_encoder",
        "tokenizer",
        image_encoder=encoders.clip_vision_with_projection,
        feature_extractor=encoders.clip_images,
    ),
    of(
        "StableDiffusionDepth2ImgPipeline",
        "safety_checker",
        "requires_safety_checker",
        unet=partial(unets.conditional, 5),
        depth_estimator=depth_estimator,
        feature_extractor=partial(transformers.DPTImageProcessorPil, size={"height": 32, "width": 32}),
    ),
    of(
        "StableDiffusionUpscalePipeline",
        "requires_safety_checker",
        unet=partial(unets.conditional, 7, num_class_embeds=1000),
        low_res_scheduler=schedulers.ddpm,
        vae=partial(vaes.kl, halvings=2),
        max_noise_level=350,
        params={"noise_level": 20, "image": "sample:image:16x16"},
    ),
    of("StableDiffusionPAGPipeline"),
    of("StableDiffusionPAGImg2ImgPipeline"),
    of("StableDiffusionPAGInpaintPipeline", unet=partial(unets.conditional, 9)),
)
