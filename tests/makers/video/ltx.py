"""LTX Video: from text, images and videos, and larger than before."""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers.pipelines.ltx.modeling_latent_upsampler import LTXLatentUpsamplerModel

from makers import Tiny
from makers.parts import encoders, for_video, tokenizers

SMALL = {
    "prompt": "a red star moves",
    "height": 32,
    "width": 32,
    "num_frames": 9,
    "num_inference_steps": 2,
    "max_sequence_length": 16,
}


def vae(**settings: Any) -> Any:
    """Return an autoencoder of videos: 8 times smaller, and every frame but the first stands for two."""
    known: dict[str, Any] = {
        "latent_channels": 8,
        "block_out_channels": (8, 8),
        "decoder_block_out_channels": (8, 8),
        "down_block_types": ("LTXVideoDownBlock3D",) * 2,
        "layers_per_block": (1, 1, 1),
        "decoder_layers_per_block": (1, 1, 1),
        "spatio_temporal_scaling": (True, False),
        "decoder_spatio_temporal_scaling": (True, False),
        "decoder_inject_noise": (False, False, False),
        "downsample_type": ("conv", "conv"),
        "upsample_residual": (False, False),
        "upsample_factor": (1, 1),
        "patch_size": 4,
    }
    return diffusers.AutoencoderKLLTXVideo(**{**known, **settings})


def parts() -> dict[str, Any]:
    """Return the parts of an LTX Video pipeline."""
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=16,
        cross_attention_dim=32,
        num_layers=1,
        caption_channels=encoders.WIDTH,
    )
    return {
        "scheduler": for_video.flow(),
        "vae": vae(),
        "text_encoder": encoders.t5_encoder(),
        "tokenizer": tokenizers.t5(),
        "transformer": transformer,
    }


def _long() -> dict[str, Any]:
    return {**parts(), "scheduler": diffusers.LTXEulerAncestralRFScheduler()}


def _upsampling() -> dict[str, Any]:
    # Any number of frames will do: none stands for two.
    upsampler = LTXLatentUpsamplerModel(in_channels=8, mid_channels=32, num_blocks_per_stage=1)
    flat = vae(spatio_temporal_scaling=(False, False), decoder_spatio_temporal_scaling=(False, False))
    return {"vae": flat, "latent_upsampler": upsampler}


#: What diffusers 0.42.1 says of a tiny video that begins with an image.
NO_IMAGE = {"image-to-video": "shape '[1, 6, 4, 4, -1, 1, 1, 1]' is invalid for input of size 640"}

PIPELINES = (
    Tiny("LTXPipeline", parts, SMALL),
    Tiny("LTXImageToVideoPipeline", parts, {**SMALL, "image": "sample:image"}),
    Tiny("LTXConditionPipeline", parts, {**SMALL, "image": "sample:image"}),
    Tiny("LTXI2VLongMultiPromptPipeline", _long, SMALL, leaves_out=NO_IMAGE),
    Tiny("LTXLatentUpsamplePipeline", _upsampling, {**SMALL, "video": "sample:video"}),
)
