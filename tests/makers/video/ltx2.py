"""LTX-2: videos that come with their audio."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel, LTX2TextConnectors, LTX2Vocoder

from makers import Tiny
from makers.parts import encoders, for_video, tokenizers

SMALL: dict[str, Any] = {
    "prompt": "a red star moves",
    "height": 32,
    "width": 32,
    "num_frames": 5,
    "num_inference_steps": 2,
    "max_sequence_length": 16,
    "spatio_temporal_guidance_blocks": [0],
}

#: Bands of a mel spectrogram, and channels of what it is compressed to.
_BANDS, _AUDIO = 16, 2


def vae(**settings: Any) -> Any:
    """Return an autoencoder of videos: 8 times smaller, and every frame but the first stands for two."""
    known: dict[str, Any] = {
        "latent_channels": 4,
        "block_out_channels": (8,),
        "decoder_block_out_channels": (8,),
        "down_block_types": ("LTX2VideoDownBlock3D",),
        "layers_per_block": (1, 1),
        "decoder_layers_per_block": (1, 1),
        "spatio_temporal_scaling": (True,),
        "decoder_spatio_temporal_scaling": (True,),
        "decoder_inject_noise": (False, False),
        "downsample_type": ("spatiotemporal",),
        "upsample_type": ("spatiotemporal",),
        "upsample_residual": (True,),
        "upsample_factor": (1,),
    }
    return diffusers.AutoencoderKLLTX2Video(**{**known, **settings})


def _audio_vae() -> Any:
    return diffusers.AutoencoderKLLTX2Audio(
        base_channels=_AUDIO * _BANDS // 4,
        ch_mult=(1, 1, 1),
        num_res_blocks=1,
        latent_channels=_AUDIO,
        mel_bins=_BANDS,
        resolution=32,
    )


def _vocoder() -> Any:
    # 240 samples for each column: audio at 24000 Hz out of a spectrogram with 100 columns a second.
    return LTX2Vocoder(
        in_channels=2 * _BANDS,
        hidden_channels=16,
        upsample_factors=[15, 16],
        upsample_kernel_sizes=[31, 32],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3]],
    )


def _transformer(**settings: Any) -> Any:
    return diffusers.LTX2VideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        cross_attention_dim=32,
        audio_in_channels=_AUDIO * _BANDS // 4,
        audio_out_channels=_AUDIO * _BANDS // 4,
        audio_num_attention_heads=2,
        audio_attention_head_dim=8,
        audio_cross_attention_dim=16,
        vae_scale_factors=(2, 8, 8),
        num_layers=1,
        caption_channels=encoders.WIDTH,
        perturbed_attn=True,
        **settings,
    )


def _connectors() -> Any:
    heads = {"num_attention_heads": 4, "attention_head_dim": 8, "num_layers": 1, "num_learnable_registers": 8}
    return LTX2TextConnectors(
        caption_channels=encoders.WIDTH,
        text_proj_in_factor=3,
        **{f"{kind}_connector_{name}": number for kind in ("video", "audio") for name, number in heads.items()},
    )


def parts(**more: Any) -> dict[str, Any]:
    """Return the parts of an LTX-2 pipeline, and others beside or instead."""
    return {
        "scheduler": for_video.flow(),
        "vae": vae(),
        "audio_vae": _audio_vae(),
        "text_encoder": for_video.gemma3(),
        "tokenizer": tokenizers.gemma(),
        "connectors": _connectors(),
        "transformer": _transformer(),
        "vocoder": _vocoder(),
        **more,
    }


def _upsampler(**settings: Any) -> Any:
    return LTX2LatentUpsamplerModel(
        in_channels=4, mid_channels=32, num_blocks_per_stage=1, use_rational_resampler=False, **settings
    )


def _refining() -> dict[str, Any]:
    return {
        **parts(scheduler=diffusers.LTXEulerAncestralRFScheduler()),
        "transformer": _transformer(use_keyframes_abs_pos_embedding=True),
        "temporal_latent_upsampler": _upsampler(spatial_upsample=False, temporal_upsample=True),
    }


def _upsampling() -> dict[str, Any]:
    # Any number of frames will do: none stands for two.
    flat = {"downsample_type": ("spatial",), "upsample_type": ("spatial",), "temporal_compression_ratio": 1}
    return {"vae": vae(**flat), "latent_upsampler": _upsampler()}


def decoding() -> dict[str, Any]:
    """Return the parts of the decoder that is a diffusion model itself."""
    decoder = diffusers.LTX2VideoDiffusionDecoderModel(
        latent_channels=4,
        patch_size=2,
        decoder_head_dim=8,
        decoder_stage_channels=(16, 16, 8),
        decoder_stage_depths=(1, 1, 1),
        decoder_stage_kernels=((1, 3, 3), (1, 3, 3)),
        decoder_upsample_strides=((1, 2, 2), (2, 2, 2)),
        decoder_upsample_channel_reductions=(1, 2),
        decoder_stage5_kernel=(3, 3, 3),
        decoder_t_emb_dim=8,
        spatial_compression_ratio=8,
        temporal_compression_ratio=2,
    )
    return {"diffusion_decoder": decoder, "scheduler": for_video.flow(), "vae": vae()}


def _numbers(*shape: int) -> Any:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).mul(100).round().div(100).tolist()


PIPELINES = (
    Tiny("LTX2Pipeline", parts, SMALL),
    Tiny("LTX2ImageToVideoPipeline", parts, {**SMALL, "image": "sample:image"}),
    Tiny("LTX2ConditionPipeline", parts, SMALL),
    Tiny("LTX2InContextPipeline", parts, SMALL),
    Tiny("LTX2HDRPipeline", parts, SMALL),
    Tiny(
        "LTX2DFRPipeline",
        lambda: parts(transformer=_transformer(use_keyframes_abs_pos_embedding=True)),
        {**SMALL, "sigmas": [1.0, 0.5]},
    ),
    Tiny(
        "LTX2DFRTemporalRefinePipeline",
        _refining,
        {
            **SMALL,
            "sigmas": [1.0, 0.5],
            "latents": _numbers(1, 4, 3, 4, 4),
            "keyframes_latents": _numbers(1, 4, 2, 4, 4),
            "keyframe_positions": [2, 4],
            "audio_latents": _numbers(1, 2, 5, 4),
        },
    ),
    Tiny("LTX2LatentUpsamplePipeline", _upsampling, {**SMALL, "video": "sample:video"}),
    Tiny("LTX2VideoDiffusionDecodePipeline", decoding, {"latents": _numbers(1, 4, 3, 4, 4)}),
)
