"""Marigold: depth, normals and intrinsics of an image."""

from __future__ import annotations

from functools import partial
from typing import Any

from makers import Tiny
from makers.parts import encoders, schedulers, tokenizers, unets, vaes
from makers.parts.making import maker

#: What it is made of: Stable Diffusion whose UNet sees the image beside the noise.
PARTS: dict[str, Any] = {
    "vae": vaes.kl,
    "text_encoder": encoders.clip_text,
    "tokenizer": tokenizers.clip,
    "unet": partial(unets.conditional, 8),
    "scheduler": partial(schedulers.ddim, prediction_type="v_prediction"),
    "default_denoising_steps": 2,
    "default_processing_resolution": 32,
}

#: What is taken apart into albedo, roughness and metallicity.
TARGETS: dict[str, Any] = {
    "target_names": ["albedo", "material"],
    "albedo": {"prediction_space": "srgb", "up_to_scale": False},
    "material": {"prediction_space": "stack", "sub_target_names": ["roughness", "metallicity", None]},
}

PIPELINES = (
    Tiny("MarigoldDepthPipeline", maker(PARTS, prediction_type="depth"), {"num_inference_steps": 2}),
    Tiny("MarigoldNormalsPipeline", maker(PARTS, prediction_type="normals"), {"num_inference_steps": 2}),
    Tiny(
        "MarigoldIntrinsicsPipeline",
        maker(
            PARTS,
            prediction_type="intrinsics",
            target_properties=TARGETS,
            unet=partial(unets.conditional, 12, out_channels=8),
        ),
        {"num_inference_steps": 2},
    ),
)
