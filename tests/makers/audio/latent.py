"""AudioLDM and AudioLDM 2: latent diffusion over spectrograms, and what makes them audio."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import transformers

from makers import Tiny
from makers.parts import encoders, schedulers, tokenizers, unets, vaes
from makers.parts.encoders import WIDTH
from makers.parts.making import maker

#: A call that is over at once: 800 samples.
CALL = {"prompt": "a drum", "num_inference_steps": 2, "audio_length_in_s": 0.05, "guidance_scale": 2.5}


def unet() -> Any:
    """Return a UNet that follows one embedding of a text."""
    return unets.conditional(
        cross_attention_dim=unets.LEVELS,
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=WIDTH,
        class_embeddings_concat=True,
    )


def unet2() -> Any:
    """Return a UNet that follows two rows of hidden states."""
    from diffusers.pipelines.audioldm2 import AudioLDM2UNet2DConditionModel  # noqa: PLC0415

    shape = unets.SHAPE | {"cross_attention_dim": ((None, WIDTH, WIDTH), (None, WIDTH, WIDTH))}
    return AudioLDM2UNet2DConditionModel(sample_size=16, up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **shape)


def projection() -> Any:
    """Return what brings both text encoders to the width of the language model."""
    from diffusers.pipelines.audioldm2 import AudioLDM2ProjectionModel  # noqa: PLC0415

    return AudioLDM2ProjectionModel(text_encoder_dim=WIDTH, text_encoder_1_dim=WIDTH, langauge_model_dim=WIDTH)


def language_model() -> Any:
    """Return a language model that goes on for four tokens."""
    config = encoders.gpt2_config()
    config.max_new_tokens = 4
    return transformers.GPT2LMHeadModel(config)


#: What AudioLDM is made of.
PARTS: dict[str, Any] = {
    "vae": partial(vaes.kl, in_channels=1, out_channels=1),
    "text_encoder": encoders.clap_text_with_projection,
    "tokenizer": tokenizers.roberta,
    "unet": unet,
    "scheduler": schedulers.ddim,
    "vocoder": encoders.speecht5_vocoder,
}

#: What AudioLDM 2 has instead, and MusicLDM, which does not run: see impossible.yaml.
MUSIC = PARTS | {"text_encoder": encoders.clap, "feature_extractor": transformers.ClapFeatureExtractor}

PIPELINES = (
    Tiny("AudioLDMPipeline", maker(PARTS), CALL),
    Tiny(
        "AudioLDM2Pipeline",
        maker(
            MUSIC,
            text_encoder_2=encoders.t5_encoder,
            tokenizer_2=tokenizers.t5,
            projection_model=projection,
            language_model=language_model,
            unet=unet2,
        ),
        CALL,
    ),
    Tiny(
        "AudioDiffusionPipeline",
        maker(
            {
                # Latents would fail: the pipeline takes the batch off them before it adds noise to a batch.
                "vqvae": None,
                "unet": partial(unets.plain, 32, 1),
                "mel": partial(diffusers.Mel, x_res=32, y_res=32, n_iter=2),
                "scheduler": diffusers.DDIMScheduler,
            }
        ),
        {"steps": 2},
        needs=("librosa",),
        unsteady="Librosa begins with phases that it draws at random, and takes no seed.",
    ),
)
