"""CogVideoX: from text, images, videos, and videos that steer."""

from __future__ import annotations

from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, tokenizers

SMALL = {
    "prompt": "a red star moves",
    "height": 16,
    "width": 16,
    "num_frames": 9,
    "num_inference_steps": 2,
    "max_sequence_length": 16,
}


def vae() -> Any:
    """Return an autoencoder of videos: 8 times smaller, 4 times fewer frames."""
    return diffusers.AutoencoderKLCogVideoX(
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
        sample_height=16,
        sample_width=16,
    )


def _parts(**settings: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "in_channels": 4,
        "out_channels": 4,
        "time_embed_dim": 2,
        "text_embed_dim": encoders.WIDTH,
        "num_layers": 1,
        "sample_width": 2,
        "sample_height": 2,
        "sample_frames": 9,
        "patch_size": 2,
        "temporal_compression_ratio": 4,
        "max_text_seq_length": 16,
        "use_rotary_positional_embeddings": True,
    }
    return {
        "tokenizer": tokenizers.t5(),
        "text_encoder": encoders.t5_encoder(),
        "vae": vae(),
        "transformer": diffusers.CogVideoXTransformer3DModel(**{**known, **settings}),
        "scheduler": diffusers.CogVideoXDDIMScheduler(),
    }


def _steered() -> dict[str, Any]:
    return {**_parts(in_channels=8), "scheduler": diffusers.DDIMScheduler()}


PIPELINES = (
    Tiny("CogVideoXPipeline", _parts, SMALL),
    Tiny("CogVideoXImageToVideoPipeline", lambda: _parts(in_channels=8), SMALL),
    Tiny("CogVideoXVideoToVideoPipeline", _parts, {**SMALL, "video": "sample:video", "num_inference_steps": 3}),
    Tiny("CogVideoXFunControlPipeline", _steered, {**SMALL, "control_video": "sample:video"}),
)
