"""Wan and the pipelines made of it: from text, from images, from videos, and edits of them."""

from __future__ import annotations

from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, for_video, tokenizers

SMALL = {
    "prompt": "a red star moves",
    "height": 16,
    "width": 16,
    "num_frames": 5,
    "num_inference_steps": 2,
    "guidance_scale": 2.0,
    "max_sequence_length": 16,
}


def transformer(kind: str = "WanTransformer3DModel", **settings: Any) -> Any:
    """Return a transformer."""
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
    return getattr(diffusers, kind)(**{**known, **settings})


def _parts(scheduler: Any = None, **settings: Any) -> dict[str, Any]:
    return {
        "tokenizer": tokenizers.t5(),
        "text_encoder": encoders.umt5_encoder(),
        "vae": for_video.wan_vae(),
        "scheduler": scheduler or for_video.flow(shift=3.0),
        "transformer": transformer(**settings),
    }


def _eyes() -> dict[str, Any]:
    return {"image_encoder": encoders.clip_vision(), "image_processor": encoders.clip_images()}


def _of_two() -> dict[str, Any]:
    return {**_parts(), "transformer_2": transformer(), "boundary_ratio": 0.5}


def from_image() -> dict[str, Any]:
    """Return the parts of the one that begins with an image."""
    return {
        **_parts(in_channels=12, image_dim=encoders.WIDTH, added_kv_proj_dim=24),
        **_eyes(),
        "transformer_2": None,
    }


def _animate() -> dict[str, Any]:
    sizes = {str(2**power): 4 for power in range(2, 6)}
    made = transformer(
        kind="WanAnimateTransformer3DModel",
        in_channels=12,
        latent_channels=4,
        num_layers=2,
        image_dim=encoders.WIDTH,
        added_kv_proj_dim=24,
        motion_encoder_channel_sizes=sizes,
        motion_encoder_size=32,
        motion_style_dim=8,
        motion_dim=4,
        motion_encoder_dim=16,
        face_encoder_hidden_dim=16,
        face_encoder_num_heads=2,
        inject_face_latents_blocks=2,
    )
    scheduler = diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    return {**_parts(scheduler), **_eyes(), "transformer": made}


def vace() -> dict[str, Any]:
    """Return the parts of the one that is steered by a video."""
    kind = "WanVACETransformer3DModel"
    return {**_parts(kind=kind, num_layers=2, vace_layers=[0], vace_in_channels=8 + 64), "transformer_2": None}


def _chrono() -> dict[str, Any]:
    kind = "ChronoEditTransformer3DModel"
    return {**_parts(kind=kind, in_channels=12, image_dim=encoders.WIDTH, added_kv_proj_dim=24), **_eyes()}


def _anyflow(kind: str, **settings: Any) -> dict[str, Any]:
    known = {"num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 4, "num_layers": 1}
    made = getattr(diffusers, kind)(
        **known, text_dim=encoders.WIDTH, freq_dim=16, ffn_dim=16, rope_max_seq_len=32, **settings
    )
    return {**_parts(diffusers.FlowMapEulerDiscreteScheduler()), "transformer": made}


PIPELINES = (
    Tiny("WanPipeline", _of_two, SMALL),
    Tiny("WanImageToVideoPipeline", from_image, SMALL),
    Tiny("WanVideoToVideoPipeline", _parts, {**SMALL, "video": "sample:video", "num_inference_steps": 3}),
    Tiny("WanVACEPipeline", vace, {**SMALL, "num_frames": 9}),
    Tiny("WanAnimatePipeline", _animate, {**SMALL, "segment_frame_length": 5}),
    Tiny("LucyEditPipeline", lambda: _parts(in_channels=8), SMALL),
    Tiny("ChronoEditPipeline", _chrono, SMALL),
    Tiny("AnyFlowPipeline", lambda: _anyflow("AnyFlowTransformer3DModel"), {**SMALL, "video": "sample:video:16x16:1"}),
    Tiny(
        "AnyFlowFARPipeline",
        lambda: _anyflow("AnyFlowFARTransformer3DModel", chunk_partition=(1, 1), full_chunk_limit=2),
        {**SMALL, "height": 32, "width": 32, "video": "sample:video:32x32:1"},
        unsteady="Its cache of keys is sometimes read where nothing was written.",
    ),
)
