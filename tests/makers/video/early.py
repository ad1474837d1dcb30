"""The first pipelines of videos: UNets over space and time."""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

from makers import Tiny
from makers.parts import encoders, tokenizers, vaes

SMALL = {
    "prompt": "a red star moves",
    "height": 16,
    "width": 16,
    "num_frames": 4,
    "num_inference_steps": 2,
}

_LEVELS: dict[str, Any] = {
    "block_out_channels": (8, 8),
    "layers_per_block": 1,
    "cross_attention_dim": encoders.WIDTH,
    "sample_size": 8,
}
_DEEP: dict[str, Any] = {
    **_LEVELS,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
}


def _texts() -> dict[str, Any]:
    return {"text_encoder": encoders.clip_text(), "tokenizer": tokenizers.clip()}


def _deep(kind: str = "UNet3DConditionModel") -> dict[str, Any]:
    return {
        **_texts(),
        "vae": vaes.kl(),
        "unet": getattr(diffusers, kind)(**_DEEP),
        "scheduler": diffusers.DDIMScheduler(clip_sample=False),
    }


def _eyes() -> dict[str, Any]:
    return {
        "image_encoder": encoders.clip_vision_with_projection(),
        "feature_extractor": encoders.clip_images(),
    }


def _stable() -> dict[str, Any]:
    # The class brings its images to 224x224 by itself, and normalizes groups of 32 channels.
    shape = {**_LEVELS, "block_out_channels": (32, 32)}
    unet = diffusers.UNetSpatioTemporalConditionModel(
        **shape,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        num_attention_heads=(2, 2),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        num_frames=4,
    )
    vae = diffusers.AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2, latent_channels=4
    )
    scheduler = diffusers.EulerDiscreteScheduler(
        prediction_type="v_prediction",
        timestep_type="continuous",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=80,
    )
    eyes = {
        "image_encoder": encoders.clip_vision_with_projection(image_size=224, patch_size=32),
        "feature_extractor": encoders.clip_images(224),
    }
    return {**eyes, "vae": vae, "unet": unet, "scheduler": scheduler}


def _flat(**settings: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        **_LEVELS,
        norm_num_groups=4,
        attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        **settings,
    )


def _zero() -> dict[str, Any]:
    return {
        **_texts(),
        "vae": vaes.kl(),
        "unet": _flat(),
        "scheduler": diffusers.DDIMScheduler(clip_sample=False),
        "safety_checker": StableDiffusionSafetyChecker(encoders.clip_config()),
        "feature_extractor": encoders.clip_images(),
    }


def _zero_xl() -> dict[str, Any]:
    half = encoders.WIDTH // 2
    return {
        "vae": vaes.kl(),
        "text_encoder": encoders.clip_text(half),
        "text_encoder_2": encoders.clip_text_with_projection(half, projection_dim=encoders.WIDTH),
        "tokenizer": tokenizers.clip(),
        "tokenizer_2": tokenizers.clip(),
        "unet": _flat(
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=encoders.WIDTH + 6 * 8,
        ),
        "scheduler": diffusers.DDIMScheduler(clip_sample=False),
        **_eyes(),
    }


_ZERO = {**SMALL, "video_length": 3, "num_inference_steps": 4, "t0": 1, "t1": 2}

PIPELINES = (
    Tiny("TextToVideoSDPipeline", _deep, SMALL),
    Tiny("VideoToVideoSDPipeline", _deep, {**SMALL, "video": "sample:video"}),
    Tiny(
        "I2VGenXLPipeline",
        lambda: {**_deep("I2VGenXLUNet"), **_eyes()},
        {**SMALL, "image": "sample:image", "clip_skip": None},
    ),
    Tiny("StableVideoDiffusionPipeline", _stable, SMALL),
    Tiny("TextToVideoZeroPipeline", _zero, _ZERO),
    Tiny("TextToVideoZeroSDXLPipeline", _zero_xl, _ZERO),
)
