"""Stable unCLIP: Stable Diffusion that follows the embedding of an image, given or thought up by a prior."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, schedulers, tokenizers, unets, vaes
from makers.parts.encoders import WIDTH
from makers.parts.making import maker
from makers.unet.kandinsky import prior
from makers.unet.stable_diffusion import CALL


def normalizer() -> Any:
    """Return what brings embeddings to one scale."""
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import (  # noqa: PLC0415
        StableUnCLIPImageNormalizer,
    )

    return StableUnCLIPImageNormalizer(embedding_dim=WIDTH)


#: What both are made of; the UNet is told the embedding and how noisy it is.
PARTS: dict[str, Any] = {
    "image_normalizer": normalizer,
    "image_noising_scheduler": partial(diffusers.DDPMScheduler, beta_schedule="squaredcos_cap_v2"),
    "tokenizer": tokenizers.clip,
    "text_encoder": encoders.clip_text,
    "unet": partial(unets.conditional, class_embed_type="projection", projection_class_embeddings_input_dim=2 * WIDTH),
    "scheduler": schedulers.ddim,
    "vae": vaes.kl,
}

PIPELINES = (
    Tiny(
        "StableUnCLIPPipeline",
        maker(
            PARTS,
            prior_tokenizer=tokenizers.clip,
            prior_text_encoder=encoders.clip_text_with_projection,
            prior=prior,
            prior_scheduler=partial(
                diffusers.DDPMScheduler,
                prediction_type="sample",
                clip_sample_range=5.0,
                variance_type="fixed_small_log",
            ),
        ),
        CALL | {"prior_num_inference_steps": 2},
    ),
    Tiny(
        "StableUnCLIPImg2ImgPipeline",
        maker(
            PARTS,
            feature_extractor=encoders.clip_images,
            image_encoder=encoders.clip_vision_with_projection,
        ),
        CALL,
    ),
)
