"""AnimateDiff: UNets of images that learned to move."""

from __future__ import annotations

from typing import Any

import diffusers

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
    "norm_num_groups": 4,
    "cross_attention_dim": encoders.WIDTH,
}


def _unet(**settings: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        **_LEVELS,
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2,
        **settings,
    )


def _motion(**settings: Any) -> Any:
    return diffusers.MotionAdapter(
        block_out_channels=(8, 8),
        motion_layers_per_block=1,
        motion_norm_num_groups=4,
        motion_num_attention_heads=2,
        **settings,
    )


def _schedule(kind: str = "DDIMScheduler") -> Any:
    return getattr(diffusers, kind)(beta_schedule="linear", clip_sample=False)


def _parts() -> dict[str, Any]:
    return {
        "vae": vaes.kl(),
        "text_encoder": encoders.clip_text(),
        "tokenizer": tokenizers.clip(),
        "unet": _unet(),
        "motion_adapter": _motion(),
        "scheduler": _schedule(),
        "feature_extractor": encoders.clip_images(),
        "image_encoder": encoders.clip_vision_with_projection(),
    }


def _controlled() -> dict[str, Any]:
    controlnet = diffusers.ControlNetModel(
        **_LEVELS,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        conditioning_embedding_out_channels=(4, 8),
        attention_head_dim=2,
    )
    return {**_parts(), "controlnet": controlnet}


def _sparse() -> dict[str, Any]:
    controlnet = diffusers.SparseControlNetModel(
        **_LEVELS,
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
        conditioning_channels=4,
        attention_head_dim=2,
        motion_num_attention_heads=2,
    )
    return {**_parts(), "controlnet": controlnet}


def _xl() -> dict[str, Any]:
    unet = _unet(
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=encoders.WIDTH + 6 * 8,
        transformer_layers_per_block=1,
        use_linear_projection=True,
    )
    half = encoders.WIDTH // 2
    return {
        **_parts(),
        "unet": unet,
        "motion_adapter": _motion(use_motion_mid_block=False),
        "text_encoder": encoders.clip_text(half),
        "text_encoder_2": encoders.clip_text_with_projection(half, projection_dim=encoders.WIDTH),
        "tokenizer_2": tokenizers.clip(),
    }


def _image() -> dict[str, Any]:
    return {**_parts(), "motion_adapter": _motion(conv_in_channels=9)}


_CLIP = {**SMALL, "video": "sample:video", "strength": 0.6}
_FOUR = {**SMALL, "conditioning_frames": ["sample:image"] * 4}

PIPELINES = (
    Tiny("AnimateDiffPipeline", _parts, SMALL),
    Tiny("AnimateDiffVideoToVideoPipeline", _parts, _CLIP),
    Tiny("AnimateDiffControlNetPipeline", _controlled, _FOUR),
    Tiny("AnimateDiffVideoToVideoControlNetPipeline", _controlled, {**_CLIP, "conditioning_frames": "sample:video"}),
    Tiny("AnimateDiffSparseControlNetPipeline", _sparse, {**SMALL, "conditioning_frames": ["sample:image"]}),
    Tiny("AnimateDiffSDXLPipeline", _xl, SMALL),
    Tiny("AnimateDiffPAGPipeline", lambda: {**_parts(), "pag_applied_layers": "mid"}, SMALL),
    Tiny("PIAPipeline", _image, SMALL),
)
