"""Qwen-Image, Hunyuan-Image and Kandinsky 5: told of words by Qwen2.5-VL, which reads them after a preamble."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import transformers

from makers import Tiny
from makers.parts import autoencoders, encoders, language, tokenizers, vaes

#: What every call is told.
PARAMS = {
    "prompt": "a red star",
    "num_inference_steps": 2,
    "height": 32,
    "width": 32,
    "strength": 0.9,
    "max_sequence_length": 128,
}

IMAGE = {"image": "sample:image:32x32"}
MASKED = IMAGE | {"mask_image": "sample:mask:32x32"}
STEERED = {"control_image": "sample:image:32x32"}

#: Channels of a latent of Qwen-Image, which some classes take for granted.
LATENTS = 16


def qwen_image() -> dict[str, Any]:
    """Return what a Qwen-Image pipeline is made of."""
    return {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": autoencoders.qwen(LATENTS),
        "text_encoder": language.qwen2_5_vl(),
        "tokenizer": tokenizers.qwen2(),
        "transformer": diffusers.QwenImageTransformer2DModel(**_shape()),
    }


def with_control(extra: int = 0) -> dict[str, Any]:
    """Return the parts with a ControlNet, which sees so many channels of a mask beside the latents."""
    net = diffusers.QwenImageControlNetModel(**(_shape() | {"num_layers": 1}), extra_condition_channels=extra)
    return qwen_image() | {"controlnet": net}


def layered() -> dict[str, Any]:
    """Return what a Qwen-Image pipeline is made of that takes an image apart; a tokenizer stands in for its processor.

    Its images are of 640 by 640 at least: a latent is 32 times smaller here. The real one takes images with an alpha
    channel only; this one takes those without.
    """
    vae = autoencoders.qwen(LATENTS, base_dim=2, dim_mult=[1] * 6, temperal_downsample=[False] * 5, num_res_blocks=1)
    transformer = diffusers.QwenImageTransformer2DModel(**_shape(), use_additional_t_cond=True, use_layer3d_rope=True)
    return qwen_image() | {"vae": vae, "transformer": transformer, "processor": tokenizers.qwen2()}


def hunyuan_image() -> dict[str, Any]:
    """Return what a Hunyuan-Image pipeline is made of; a second encoder reads letters of words in quotes."""
    transformer = diffusers.HunyuanImageTransformer2DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        text_embed_dim=encoders.WIDTH,
        text_embed_2_dim=encoders.WIDTH,
        rope_axes_dim=(8, 8),
    )
    return {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        "vae": autoencoders.hunyuan_image(8),
        # The layer that is read is the second last but one.
        "text_encoder": language.qwen2_5_vl(num_hidden_layers=3),
        "tokenizer": tokenizers.qwen2(),
        "text_encoder_2": encoders.t5_encoder(),
        "tokenizer_2": transformers.ByT5Tokenizer(),
        "transformer": transformer,
        "guider": diffusers.AdaptiveProjectedMixGuidance(),
        "ocr_guider": diffusers.AdaptiveProjectedMixGuidance(),
    }


def hunyuan_refiner() -> dict[str, Any]:
    """Return what a Hunyuan-Image refiner is made of: two frames of latents make one.

    The latents of the image lie beside those that it draws.
    """
    parts = hunyuan_image()
    words = {name: parts[name] for name in ("scheduler", "text_encoder", "tokenizer", "guider")}
    transformer = diffusers.HunyuanImageTransformer2DModel(
        in_channels=32,
        out_channels=16,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        patch_size=(1, 1, 1),
        text_embed_dim=encoders.WIDTH,
        rope_axes_dim=(4, 4, 8),
    )
    return words | {"vae": autoencoders.hunyuan_refiner(8), "transformer": transformer}


def kandinsky_5() -> dict[str, Any]:
    """Return what a Kandinsky 5 pipeline is made of; a tokenizer stands in for its processor, which needs torchvision."""
    transformer = diffusers.Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        out_visual_dim=4,
        in_text_dim=encoders.WIDTH,
        in_text_dim2=encoders.WIDTH,
        time_dim=16,
        model_dim=32,
        ff_dim=64,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(4, 6, 6),
    )
    return {
        "transformer": transformer,
        # Its images are of 1024 by 1024 at least: a whole one is too much to attend to.
        "vae": vaes.kl(4, 3, width=4, mid_block_add_attention=False),
        "text_encoder": language.qwen2_5_vl(),
        "tokenizer": tokenizers.qwen2(),
        "text_encoder_2": encoders.clip_text(),
        "tokenizer_2": tokenizers.clip(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0),
    }


def _shape() -> dict[str, Any]:
    return {
        "patch_size": 2,
        "in_channels": 4 * LATENTS,
        "out_channels": LATENTS,
        "num_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": encoders.WIDTH,
        "axes_dims_rope": (4, 4, 8),
    }


PIPELINES = (
    Tiny("QwenImagePipeline", qwen_image, PARAMS),
    Tiny("QwenImageImg2ImgPipeline", qwen_image, PARAMS | IMAGE),
    Tiny("QwenImageInpaintPipeline", qwen_image, PARAMS | MASKED),
    Tiny("QwenImageControlNetPipeline", with_control, PARAMS | STEERED),
    Tiny(
        "QwenImageControlNetInpaintPipeline",
        partial(with_control, 4),
        PARAMS | STEERED | {"control_mask": "sample:mask:32x32"},
    ),
    Tiny("QwenImageLayeredPipeline", layered, PARAMS | IMAGE | {"layers": 1, "num_inference_steps": 1}),
    Tiny("HunyuanImagePipeline", hunyuan_image, PARAMS),
    Tiny("HunyuanImageRefinerPipeline", hunyuan_refiner, PARAMS | IMAGE),
    Tiny("Kandinsky5T2IPipeline", kandinsky_5, PARAMS),
)
