"""Pipelines whose latents are audio itself, made shorter."""

from __future__ import annotations

from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, tokenizers
from makers.parts.encoders import WIDTH
from makers.parts.making import maker

#: Samples that one column of a latent stands for, and how many of them there are in a second.
HOP, RATE = 8, 8000


def oobleck(latents: int = 4, **settings: Any) -> Any:
    """Return an autoencoder of audio in stereo."""
    shape: dict[str, Any] = {
        "encoder_hidden_size": 8,
        "downsampling_ratios": [2, 4],
        "channel_multiples": [1, 2],
        "decoder_channels": 8,
        "decoder_input_channels": latents,
        "audio_channels": 2,
        "sampling_rate": RATE,
    }
    return diffusers.AutoencoderOobleck(**(shape | settings))


def dit() -> Any:
    """Return the transformer of Stable Audio."""
    return diffusers.StableAudioDiTModel(
        sample_size=256,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        num_key_value_attention_heads=2,
        cross_attention_dim=WIDTH,
        cross_attention_input_dim=WIDTH,
        global_states_input_dim=2 * WIDTH,
        time_proj_dim=8,
    )


def projection() -> Any:
    """Return what turns a text and two times into what the transformer follows."""
    from diffusers.pipelines.stable_audio import StableAudioProjectionModel  # noqa: PLC0415

    return StableAudioProjectionModel(text_encoder_dim=WIDTH, conditioning_dim=WIDTH, min_value=0, max_value=32)


def unet1d() -> Any:
    """Return a UNet over audio in stereo."""
    return diffusers.UNet1DModel(
        block_out_channels=(32, 32, 64),
        extra_in_channels=64,
        sample_size=512,
        sample_rate=16000,
        in_channels=2,
        out_channels=2,
    )


PIPELINES = (
    Tiny(
        "StableAudioPipeline",
        maker(
            {
                "vae": oobleck,
                "text_encoder": encoders.t5_encoder,
                "projection_model": projection,
                "tokenizer": tokenizers.t5,
                "transformer": dit,
                "scheduler": lambda: diffusers.EDMDPMSolverMultistepScheduler(
                    solver_order=2, prediction_type="v_prediction", sigma_data=1.0, sigma_schedule="exponential"
                ),
            }
        ),
        {"prompt": "a drum", "num_inference_steps": 2, "audio_end_in_s": 0.2},
    ),
    Tiny(
        "DanceDiffusionPipeline",
        maker({"unet": unet1d, "scheduler": diffusers.IPNDMScheduler}),
        {"num_inference_steps": 4, "audio_length_in_s": 0.032},
    ),
)
