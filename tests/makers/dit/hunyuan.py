"""Hunyuan-DiT: a transformer with long skips, told of words by BERT and T5; with a ControlNet, and perturbed."""

from __future__ import annotations

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
    "use_resolution_binning": False,
}

#: The longest text of each encoder, in tokens; the second is fixed in the source.
LENGTH, LENGTH_2 = 77, 256


def parts() -> dict[str, Any]:
    """Return what a Hunyuan-DiT pipeline is made of."""
    return {
        "vae": vaes.kl(halvings=3),
        "text_encoder": encoders.bert(),
        "tokenizer": tokenizers.bert(LENGTH),
        "transformer": diffusers.HunyuanDiT2DModel(**_shape(), num_layers=4),
        "scheduler": diffusers.DDPMScheduler(),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
        "text_encoder_2": encoders.t5_encoder(),
        "tokenizer_2": tokenizers.t5(LENGTH_2),
    }


def with_control() -> dict[str, Any]:
    """Return the parts with a ControlNet, of half as many layers as the transformer."""
    return parts() | {"controlnet": diffusers.HunyuanDiT2DControlNetModel(**_shape(), transformer_num_layers=4)}


def _shape() -> dict[str, Any]:
    return {
        "num_attention_heads": 4,
        "attention_head_dim": 8,
        "in_channels": 4,
        "patch_size": 2,
        "sample_size": 4,
        "hidden_size": 32,
        "mlp_ratio": 2.0,
        "cross_attention_dim": encoders.WIDTH,
        "cross_attention_dim_t5": encoders.WIDTH,
        "pooled_projection_dim": 16,
        "text_len": LENGTH,
        "text_len_t5": LENGTH_2,
    }


PIPELINES = (
    Tiny("HunyuanDiTPipeline", parts, PARAMS),
    Tiny("HunyuanDiTPAGPipeline", parts, PARAMS),
    Tiny("HunyuanDiTControlNetPipeline", with_control, PARAMS | {"control_image": "sample:image:32x32"}),
)
