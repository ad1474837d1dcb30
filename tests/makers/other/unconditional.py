"""Pipelines that make images of no text: from nothing, from a class, or by filling in."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, schedulers, tokenizers, unets, vaes
from makers.parts.making import maker

#: A call that is over at once.
CALL = {"num_inference_steps": 2}


def of(name: str, scheduler: Any, params: dict[str, Any] | None = None, **other: Any) -> Tiny:
    """Return a pipeline of a UNet and a scheduler."""
    parts: dict[str, Any] = {"unet": unets.plain, "scheduler": scheduler}
    return Tiny(name, maker(parts, **other), CALL | (params or {}))


def classes(**settings: Any) -> Any:
    """Return a transformer that makes latents of the thousand classes of ImageNet."""
    shape: dict[str, Any] = {
        "sample_size": 8,
        "patch_size": 2,
        "in_channels": 4,
        "out_channels": 8,
        "num_layers": 2,
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "num_embeds_ada_norm": 1000,
        "activation_fn": "gelu-approximate",
        "norm_type": "ada_norm_zero",
        "norm_elementwise_affine": False,
        "attention_bias": True,
    }
    return diffusers.DiTTransformer2DModel(**(shape | settings))


def text_encoder() -> Any:
    """Return the text encoder that latent diffusion had before CLIP."""
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (  # noqa: PLC0415
        LDMBertConfig,
        LDMBertModel,
    )

    config = LDMBertConfig(
        vocab_size=tokenizers.VOCABULARY,
        d_model=encoders.WIDTH,
        encoder_layers=1,
        encoder_ffn_dim=2 * encoders.WIDTH,
        encoder_attention_heads=4,
        head_dim=8,
    )
    return LDMBertModel(config)


def vq(**settings: Any) -> Any:
    """Return the autoencoder of an unconditional latent diffusion."""
    return vaes.vq(latents=3, halvings=1, **settings)


PIPELINES = (
    of("DDPMPipeline", schedulers.ddpm),
    of("DDIMPipeline", diffusers.DDIMScheduler),
    of("PNDMPipeline", diffusers.PNDMScheduler, {"num_inference_steps": 4}),
    of("ScoreSdeVePipeline", diffusers.ScoreSdeVeScheduler),
    of("KarrasVePipeline", diffusers.KarrasVeScheduler),
    of("RePaintPipeline", diffusers.RePaintScheduler, {"jump_length": 1, "jump_n_sample": 1}),
    of(
        "ConsistencyModelPipeline",
        partial(diffusers.CMStochasticIterativeScheduler, num_train_timesteps=40),
        {"class_labels": 1},
        unet=partial(unets.plain, num_class_embeds=10),
    ),
    of("LDMPipeline", diffusers.DDIMScheduler, vqvae=vq),
    of(
        "LDMSuperResolutionPipeline",
        diffusers.DDIMScheduler,
        {"image": "sample:image:32x32"},
        unet=partial(unets.plain, 16, 6, out_channels=3),
        vqvae=vq,
    ),
    Tiny(
        "LDMTextToImagePipeline",
        maker(
            {
                "vqvae": partial(vaes.kl, halvings=3),
                "bert": text_encoder,
                "tokenizer": tokenizers.clip,
                "unet": unets.conditional,
                "scheduler": schedulers.ddim,
            }
        ),
        CALL | {"prompt": "a red star", "height": 32, "width": 32, "guidance_scale": 5.0},
    ),
    Tiny(
        "DiTPipeline",
        maker(
            {
                "transformer": classes,
                "vae": vaes.kl,
                "scheduler": diffusers.DDIMScheduler,
                "id2label": {str(number): word for number, word in enumerate(("star", "disk", "square", "ring"))},
            }
        ),
        CALL | {"class_labels": [1]},
    ),
)
