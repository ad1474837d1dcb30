"""unCLIP, and Stable Diffusion that follows the embedding of an image as unCLIP does, given or thought up by a prior."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, schedulers, tokenizers, unets, vaes
from makers.parts.encoders import WIDTH
from makers.parts.making import maker
from makers.unet.kandinsky import prior, unet
from makers.unet.stable_diffusion import CALL


def normalizer() -> Any:
    """Return what brings embeddings to one scale."""
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import (  # noqa: PLC0415
        StableUnCLIPImageNormalizer,
    )

    return StableUnCLIPImageNormalizer(embedding_dim=WIDTH)


def text_projection() -> Any:
    """Return what tells the decoder of unCLIP the text and the embedding of the image."""
    from diffusers.pipelines.deprecated.unclip import UnCLIPTextProjModel  # noqa: PLC0415

    return UnCLIPTextProjModel(clip_embeddings_dim=WIDTH, time_embed_dim=4 * unets.LEVELS[0], cross_attention_dim=WIDTH)


def enlarging() -> Any:
    """Return a UNet that enlarges what the decoder of unCLIP makes."""
    return unets.plain(32, 6, out_channels=3)


#: What both pipelines of unCLIP are made of.
UNCLIP: dict[str, Any] = {
    "decoder": partial(
        unet,
        3,
        out_channels=6,
        addition_embed_type=None,
        encoder_hid_dim_type=None,
        encoder_hid_dim=None,
        class_embed_type="identity",
    ),
    "text_encoder": encoders.clip_text_with_projection,
    "tokenizer": tokenizers.clip,
    "text_proj": text_projection,
    "super_res_first": enlarging,
    "super_res_last": enlarging,
    "decoder_scheduler": partial(diffusers.UnCLIPScheduler, variance_type="learned_range"),
    "super_res_scheduler": diffusers.UnCLIPScheduler,
}

#: A call of them that is over at once.
UNCLIP_CALL = {"prompt": "a red star", "decoder_num_inference_steps": 2, "super_res_num_inference_steps": 2}

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
    Tiny(
        "UnCLIPPipeline",
        maker(
            UNCLIP,
            prior=prior,
            prior_scheduler=partial(diffusers.UnCLIPScheduler, prediction_type="sample", clip_sample_range=5.0),
        ),
        UNCLIP_CALL | {"prior_num_inference_steps": 2},
    ),
    Tiny(
        "UnCLIPImageVariationPipeline",
        maker(UNCLIP, feature_extractor=encoders.clip_images, image_encoder=encoders.clip_vision_with_projection),
        UNCLIP_CALL | {"image": "sample:image:32x32"},
    ),
)
