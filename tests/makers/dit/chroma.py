"""Relatives of Flux: Chroma and Bria, told of words by T5 alone; Ovis, LongCat and VisualCloze."""

from __future__ import annotations

from typing import Any

import diffusers

from makers import Tiny
from makers.dit import flux
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

#: Channels of a latent; four latents are packed into one token.
LATENTS = 4


def chroma() -> dict[str, Any]:
    """Return what a Chroma pipeline is made of."""
    transformer = diffusers.ChromaTransformer2DModel(
        **_shape(), approximator_num_channels=8, approximator_hidden_dim=16, approximator_layers=1
    )
    # The class for inpainting looks for this in the transformer's configuration, which has no such setting.
    transformer.register_to_config(guidance_embeds=False)
    return _worded() | {"transformer": transformer}


def bria() -> dict[str, Any]:
    """Return what a Bria pipeline is made of."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    return _worded() | {"transformer": diffusers.BriaTransformer2DModel(**_shape()), "scheduler": scheduler}


def ovis() -> dict[str, Any]:
    """Return what an Ovis pipeline is made of."""
    return {
        "scheduler": _shifted(),
        "vae": vaes.flow(LATENTS),
        "text_encoder": language.qwen3(),
        "tokenizer": tokenizers.qwen2(),
        "transformer": diffusers.OvisImageTransformer2DModel(**(_shape() | {"out_channels": 4 * LATENTS})),
    }


def longcat() -> dict[str, Any]:
    """Return what a LongCat pipeline is made of."""
    return {
        "scheduler": _shifted(),
        "vae": vaes.flow(16),
        "text_encoder": language.qwen2_5_vl(),
        "tokenizer": tokenizers.qwen2(),
        # The processor of Qwen2-VL needs torchvision; without rewriting it is not asked.
        "text_processor": tokenizers.qwen2(),
        # Its latents have 16 channels, which the class takes for granted.
        "transformer": diffusers.LongCatImageTransformer2DModel(
            **(_shape() | {"in_channels": 64}), pooled_projection_dim=encoders.WIDTH
        ),
    }


def visual_cloze() -> dict[str, Any]:
    """Return what a VisualCloze pipeline is made of: a Flux fill that completes rows of images."""
    return flux.FILL() | {"resolution": 32}


def _worded() -> dict[str, Any]:
    return {
        "scheduler": _shifted(),
        "vae": vaes.flow(LATENTS),
        "text_encoder": encoders.t5_encoder(),
        "tokenizer": tokenizers.t5(),
    }


def _shifted() -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)


def _shape() -> dict[str, Any]:
    return {
        "in_channels": 4 * LATENTS,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": encoders.WIDTH,
        "axes_dims_rope": (4, 4, 8),
    }


CLOZE = {
    "task_prompt": "an image, then the same in red",
    "content_prompt": "a red star",
    "image": [["sample:image:32x32", "sample:image:32x32"], ["sample:image:32x32", None]],
    "upsampling_height": 32,
    "upsampling_width": 32,
    "num_inference_steps": 2,
    "max_sequence_length": 16,
}

PIPELINES = (
    Tiny("ChromaPipeline", chroma, PARAMS),
    Tiny("ChromaImg2ImgPipeline", chroma, PARAMS | IMAGE),
    Tiny("ChromaInpaintPipeline", chroma, PARAMS | MASKED),
    Tiny("BriaPipeline", bria, PARAMS),
    Tiny("OvisImagePipeline", ovis, PARAMS),
    Tiny("LongCatImagePipeline", longcat, PARAMS | {"enable_prompt_rewrite": False}),
    Tiny("VisualClozePipeline", visual_cloze, CLOZE),
    Tiny("VisualClozeGenerationPipeline", visual_cloze, CLOZE),
)
