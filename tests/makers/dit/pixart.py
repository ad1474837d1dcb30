"""Transformers that see words through cross-attention, with noise schedules of the older kind: PixArt and DiT."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, tokenizers, vaes

#: What every call is told.
PARAMS = {
    "prompt": "a red star",
    "num_inference_steps": 2,
    "height": 32,
    "width": 32,
    "max_sequence_length": 16,
    "use_resolution_binning": False,
}


def parts(*, sized: bool) -> dict[str, Any]:
    """Return what a PixArt pipeline is made of; the alpha kind is told an image's size in its embedding."""
    # The class tells the alpha kind of a size only where its transformer is made for latents of 128.
    transformer = diffusers.PixArtTransformer2DModel(
        **(_shape() | {"sample_size": 128 if sized else 16}),
        out_channels=8,
        cross_attention_dim=24,
        caption_channels=encoders.WIDTH,
        use_additional_conditions=sized,
    )
    return {
        "tokenizer": tokenizers.t5(),
        "text_encoder": encoders.t5_encoder(),
        "vae": vaes.kl(),
        "transformer": transformer,
        "scheduler": diffusers.DPMSolverMultistepScheduler(),
    }


def _shape() -> dict[str, Any]:
    return {
        "num_attention_heads": 3,
        "attention_head_dim": 8,
        "in_channels": 4,
        "num_layers": 2,
        "norm_num_groups": 4,
        "sample_size": 16,
        "patch_size": 2,
    }


SIGMA = partial(parts, sized=False)

PIPELINES = (
    Tiny("PixArtAlphaPipeline", partial(parts, sized=True), PARAMS),
    Tiny("PixArtSigmaPipeline", SIGMA, PARAMS),
    Tiny("PixArtSigmaPAGPipeline", SIGMA, PARAMS),
)
