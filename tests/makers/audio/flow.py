"""ACE-Step, LongCat AudioDiT and Stable Audio 3: rectified flows over latents of audio."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import transformers

from makers import Tiny
from makers.audio.waves import RATE, oobleck
from makers.parts import encoders, tokenizers
from makers.parts.encoders import WIDTH
from makers.parts.making import maker

#: What the transformers of ACE-Step share.
ACE: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "sliding_window": 16,
}


def ace_transformer() -> Any:
    """Return the transformer of ACE-Step: it sees a source, a mask and the noise."""
    return diffusers.AceStepTransformer1DModel(
        num_hidden_layers=2, in_channels=12, audio_acoustic_hidden_dim=4, patch_size=2, **ACE
    )


def ace_encoder() -> Any:
    """Return what reads the text, the lyrics and the timbre."""
    return diffusers.AceStepConditionEncoder(
        text_hidden_dim=WIDTH,
        timbre_hidden_dim=4,
        num_lyric_encoder_hidden_layers=1,
        num_timbre_encoder_hidden_layers=1,
        **ACE,
    )


def longcat_vae() -> Any:
    """Return an autoencoder of audio: 8 samples for a column."""
    return diffusers.LongCatAudioDiTVae(
        channels=8,
        c_mults=[1, 2],
        strides=[2, 4],
        latent_dim=4,
        encoder_latent_dim=8,
        downsampling_ratio=8,
        sample_rate=RATE,
    )


def longcat_transformer() -> Any:
    """Return the transformer of LongCat AudioDiT."""
    return diffusers.LongCatAudioDiTTransformer(
        dit_dim=WIDTH, dit_depth=1, dit_heads=4, dit_text_dim=WIDTH, latent_dim=4, text_conv=False
    )


def same() -> Any:
    """Return the autoencoder of Stable Audio 3: 32 samples for a column."""
    return diffusers.AutoencoderSAME(
        patch_size=8,
        encoder_channels=16,
        encoder_c_mults=(2,),
        encoder_strides=(4,),
        encoder_transformer_depths=(1,),
        latent_dim=4,
        dim_heads=8,
        sampling_rate=RATE,
    )


def stable_transformer() -> Any:
    """Return the transformer of Stable Audio 3."""
    return diffusers.StableAudio3DiTModel(
        io_channels=4,
        embed_dim=WIDTH,
        depth=2,
        num_heads=4,
        cond_token_dim=WIDTH,
        global_cond_dim=WIDTH,
        local_add_cond_dim=5,
        timestep_features_dim=8,
        num_memory_tokens=4,
    )


def duration() -> Any:
    """Return what tells the transformer how long the audio is."""
    return diffusers.StableAudio3DurationEmbedder(output_dim=WIDTH, fourier_dim=8)


def t5gemma() -> Any:
    """Return the encoder of a T5Gemma model."""
    module = encoders.causal() | {"num_hidden_layers": 1, "head_dim": 8}
    module |= {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    config = transformers.T5GemmaConfig(
        encoder=module, decoder=module, is_encoder_decoder=False, vocab_size=tokenizers.VOCABULARY
    )
    return transformers.T5GemmaEncoderModel(config)


#: What the three of Stable Audio 3 are made of.
STABLE: dict[str, Any] = {
    "vae": same,
    "text_encoder": t5gemma,
    "tokenizer": tokenizers.gemma,
    "duration_embedder": duration,
    "transformer": stable_transformer,
    "scheduler": diffusers.FlowMatchEulerDiscreteScheduler,
}

#: A call that is over at once.
CALL = {"prompt": "a drum", "num_inference_steps": 2, "duration": 0.25}

PIPELINES = (
    Tiny(
        "AceStepPipeline",
        maker(
            {
                # Its timbre is always 30 seconds, so columns are long: 400 samples.
                "vae": partial(oobleck, downsampling_ratios=[4, 10, 10], channel_multiples=[1, 1, 1]),
                "text_encoder": lambda: encoders.qwen3().model,
                "tokenizer": tokenizers.qwen2,
                "transformer": ace_transformer,
                "condition_encoder": ace_encoder,
                "scheduler": partial(diffusers.FlowMatchEulerDiscreteScheduler, shift=3.0),
            }
        ),
        {
            "prompt": "a drum",
            "lyrics": "la la",
            "num_inference_steps": 2,
            "audio_duration": 0.5,
            "max_text_length": 64,
            "max_lyric_length": 64,
        },
    ),
    Tiny(
        "LongCatAudioDiTPipeline",
        maker(
            {
                "vae": longcat_vae,
                "text_encoder": encoders.umt5_encoder,
                "tokenizer": tokenizers.t5,
                "transformer": longcat_transformer,
                "scheduler": partial(diffusers.FlowMatchEulerDiscreteScheduler, shift=1.0, invert_sigmas=True),
            }
        ),
        {"prompt": "a drum", "num_inference_steps": 2, "audio_duration_s": 0.1},
    ),
    Tiny("StableAudio3Pipeline", maker(STABLE), CALL),
    Tiny("StableAudio3AudioToAudioPipeline", maker(STABLE), CALL | {"audio": "sample:audio"}),
    Tiny(
        "StableAudio3InpaintPipeline",
        maker(STABLE),
        CALL | {"audio": "sample:audio", "mask_start_seconds": 0.1, "mask_end_seconds": 0.2},
    ),
)
