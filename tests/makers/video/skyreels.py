"""SkyReels V2: Wan's transformers, with frames that are denoised one after the other."""

from __future__ import annotations

from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, for_video, tokenizers

SMALL = {
    "prompt": "a red star moves",
    "height": 16,
    "width": 16,
    "num_frames": 9,
    "num_inference_steps": 2,
    "guidance_scale": 2.0,
    "max_sequence_length": 16,
}
_FORCING = {**SMALL, "base_num_frames": 9, "addnoise_condition": 0}


def _parts(**settings: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 4,
        "out_channels": 4,
        "text_dim": encoders.WIDTH,
        "freq_dim": 16,
        "ffn_dim": 16,
        "num_layers": 1,
        "rope_max_seq_len": 32,
    }
    return {
        "tokenizer": tokenizers.t5(),
        "text_encoder": encoders.umt5_encoder(),
        "vae": for_video.wan_vae(),
        "scheduler": diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0
        ),
        "transformer": diffusers.SkyReelsV2Transformer3DModel(**{**known, **settings}),
    }


def _forcing() -> dict[str, Any]:
    return _parts(inject_sample_info=True)


def _from_image() -> dict[str, Any]:
    return {
        **_parts(in_channels=12, image_dim=encoders.WIDTH, added_kv_proj_dim=24),
        "image_encoder": encoders.clip_vision_with_projection(),
        "image_processor": encoders.clip_images(),
    }


PIPELINES = (
    Tiny("SkyReelsV2Pipeline", _parts, SMALL),
    Tiny("SkyReelsV2ImageToVideoPipeline", _from_image, SMALL),
    Tiny("SkyReelsV2DiffusionForcingPipeline", _forcing, _FORCING),
    Tiny("SkyReelsV2DiffusionForcingImageToVideoPipeline", _forcing, _FORCING),
    Tiny(
        "SkyReelsV2DiffusionForcingVideoToVideoPipeline",
        _forcing,
        {**_FORCING, "num_frames": 17, "overlap_history": 1, "base_num_frames": 9},
    ),
)
