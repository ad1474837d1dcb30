"""Lumina, Lumina 2 and Z-Image: words of a language model and an image run through the same transformer."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import transformers

from makers import Tiny
from makers.parts import encoders, language, tokenizers, vaes

#: What every call is told.
PARAMS = {
    "prompt": "a red star",
    "num_inference_steps": 2,
    "height": 32,
    "width": 32,
    "max_sequence_length": 16,
    "strength": 0.9,
}

IMAGE = {"image": "sample:image:32x32"}
MASKED = IMAGE | {"mask_image": "sample:mask:32x32"}
STEERED = {"control_image": "sample:image:32x32"}

#: Channels of a latent of Z-Image and Lumina 2, which are fixed in the source of some.
LATENTS = 16


def lumina() -> dict[str, Any]:
    """Return what a Lumina pipeline is made of."""
    transformer = diffusers.LuminaNextDiT2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        hidden_size=32,
        num_layers=2,
        num_attention_heads=4,
        num_kv_heads=2,
        multiple_of=8,
        learn_sigma=True,
        cross_attention_dim=encoders.WIDTH,
    )
    return {
        "transformer": transformer,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
        "vae": vaes.kl(halvings=3),
        "text_encoder": language.gemma(),
        "tokenizer": tokenizers.gemma(),
    }


def lumina_2() -> dict[str, Any]:
    """Return what a Lumina 2 pipeline is made of."""
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=LATENTS,
        hidden_size=32,
        num_layers=2,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=2,
        multiple_of=8,
        axes_dim_rope=(4, 4, 8),
        axes_lens=(300, 64, 64),
        cap_feat_dim=encoders.WIDTH,
    )
    return {
        "transformer": transformer,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
        "vae": vaes.flow(LATENTS, 3),
        "text_encoder": encoders.gemma2(),
        "tokenizer": tokenizers.gemma(),
    }


def z_image(**settings: Any) -> dict[str, Any]:
    """Return what a Z-Image pipeline is made of."""
    shape = {
        "in_channels": LATENTS,
        "n_layers": 2,
        "cap_feat_dim": encoders.WIDTH,
        "axes_dims": (4, 4, 8),
        "axes_lens": (1024, 64, 64),
    }
    return {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
        "vae": vaes.flow(LATENTS),
        "text_encoder": encoders.qwen3(),
        "tokenizer": tokenizers.qwen2(),
        "transformer": diffusers.ZImageTransformer2DModel(**(_z_shape() | shape | settings)),
    }


def z_image_steered(channels: int = LATENTS) -> dict[str, Any]:
    """Return the parts of a Z-Image pipeline with a ControlNet that sees this many channels."""
    net = diffusers.ZImageControlNetModel(
        **_z_shape(),
        control_layers_places=[0],
        control_refiner_layers_places=[0],
        control_in_dim=channels,
        add_control_noise_refiner="control_noise_refiner",
    )
    return z_image() | {"controlnet": net}


def z_image_omni() -> dict[str, Any]:
    """Return the parts of a Z-Image pipeline that is shown images, which SigLIP 2 sees."""
    return z_image(siglip_feat_dim=encoders.WIDTH) | {
        "siglip": language.siglip_2(),
        "siglip_processor": transformers.Siglip2ImageProcessorPil(patch_size=encoders.PATCH, max_num_patches=16),
    }


def _z_shape() -> dict[str, Any]:
    return {"dim": 32, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2}


PIPELINES = (
    Tiny("LuminaPipeline", lumina, PARAMS | {"use_resolution_binning": False}),
    Tiny("Lumina2Pipeline", lumina_2, PARAMS),
    Tiny("ZImagePipeline", z_image, PARAMS),
    Tiny("ZImageImg2ImgPipeline", z_image, PARAMS | IMAGE),
    Tiny("ZImageInpaintPipeline", z_image, PARAMS | MASKED),
    # Images are left out: the class turns them to bfloat16, which its autoencoder need not be.
    Tiny(
        "ZImageOmniPipeline",
        z_image_omni,
        PARAMS,
        leaves_out={"image-to-image": "It casts images to bfloat16, which fails on weights in float32."},
    ),
    Tiny("ZImageControlNetPipeline", z_image_steered, PARAMS | STEERED),
    # It sees the control, the masked image and the mask, one channel.
    Tiny("ZImageControlNetInpaintPipeline", partial(z_image_steered, 2 * LATENTS + 1), PARAMS | MASKED | STEERED),
)
