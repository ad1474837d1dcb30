"""ACE-Step, LongCat Audio and Stable Audio 3: transformers that make music and sound out of texts."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers
from diffusers.pipelines.ace_step import AceStepConditionEncoder
from diffusers.pipelines.stable_audio_3 import StableAudio3DurationEmbedder

from makers import Tiny
from makers.parts import encoders, for_video, tokenizers

_LATENTS = 8


def _oobleck() -> Any:
    # 128 samples for each latent, 125 latents a second.
    return diffusers.AutoencoderOobleck(
        # The encoder gives a mean and a deviation for each channel of a latent.
        encoder_hidden_size=2 * _LATENTS,
        downsampling_ratios=[4, 4, 8],
        channel_multiples=[1, 1, 1],
        decoder_channels=4,
        decoder_input_channels=_LATENTS,
        sampling_rate=16000,
    )


def _ace() -> dict[str, Any]:
    shape = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "sliding_window": 16,
    }
    transformer = diffusers.AceStepTransformer1DModel(
        **shape, num_hidden_layers=1, in_channels=3 * _LATENTS, audio_acoustic_hidden_dim=_LATENTS
    )
    condition = AceStepConditionEncoder(
        **shape,
        text_hidden_dim=encoders.WIDTH,
        timbre_hidden_dim=_LATENTS,
        num_lyric_encoder_hidden_layers=1,
        num_timbre_encoder_hidden_layers=1,
    )
    config = transformers.Qwen3Config(**(encoders.causal() | {"head_dim": 8}))
    return {
        "vae": _oobleck(),
        "text_encoder": transformers.Qwen3Model(config),
        "tokenizer": tokenizers.qwen2(),
        "transformer": transformer,
        "condition_encoder": condition,
        "scheduler": for_video.flow(),
    }


def _longcat() -> dict[str, Any]:
    vae = diffusers.LongCatAudioDiTVae(
        channels=8,
        c_mults=[1, 1],
        strides=[4, 8],
        latent_dim=_LATENTS,
        encoder_latent_dim=2 * _LATENTS,
        downsampling_ratio=32,
        sample_rate=8000,
    )
    transformer = diffusers.LongCatAudioDiTTransformer(
        dit_dim=32, dit_depth=2, dit_heads=4, dit_text_dim=encoders.WIDTH, latent_dim=_LATENTS
    )
    return {
        "vae": vae,
        "text_encoder": encoders.umt5_encoder(),
        "tokenizer": tokenizers.t5(),
        "transformer": transformer,
        "scheduler": for_video.flow(shift=1.0, invert_sigmas=True),
    }


def _stable() -> dict[str, Any]:
    vae = diffusers.AutoencoderSAME(
        patch_size=32,
        encoder_channels=16,
        encoder_c_mults=(2,),
        encoder_strides=(4,),
        encoder_transformer_depths=(1,),
        latent_dim=_LATENTS,
        dim_heads=8,
        sampling_rate=8000,
    )
    transformer = diffusers.StableAudio3DiTModel(
        io_channels=_LATENTS,
        embed_dim=32,
        depth=1,
        num_heads=4,
        cond_token_dim=encoders.WIDTH,
        global_cond_dim=encoders.WIDTH,
        local_add_cond_dim=_LATENTS + 1,
        timestep_features_dim=16,
        num_memory_tokens=2,
    )
    shape = encoders.causal() | {"head_dim": 8, "query_pre_attn_scalar": 8, "layer_types": ["full_attention"] * 2}
    config = transformers.T5GemmaConfig(
        encoder=transformers.T5GemmaModuleConfig(**shape), is_encoder_decoder=False, vocab_size=shape["vocab_size"]
    )
    return {
        "vae": vae,
        "text_encoder": transformers.T5GemmaEncoderModel(config),
        "tokenizer": tokenizers.gemma(),
        "duration_embedder": StableAudio3DurationEmbedder(output_dim=encoders.WIDTH, fourier_dim=16),
        "transformer": transformer,
        "scheduler": for_video.flow(),
    }


SMALL = {"prompt": "a bell rings", "num_inference_steps": 2}
_STABLE = {**SMALL, "duration": 0.5}

PIPELINES = (
    Tiny("AceStepPipeline", _ace, {**SMALL, "audio_duration": 0.4, "lyrics": "la la", "max_lyric_length": 16}),
    Tiny("LongCatAudioDiTPipeline", _longcat, {**SMALL, "audio_duration_s": 0.5}),
    Tiny("StableAudio3Pipeline", _stable, _STABLE),
    Tiny("StableAudio3AudioToAudioPipeline", _stable, {**_STABLE, "audio": "sample:audio"}),
    Tiny(
        "StableAudio3InpaintPipeline",
        _stable,
        {**_STABLE, "audio": "sample:audio", "mask_start_seconds": 0.1, "mask_end_seconds": 0.3},
    ),
)
