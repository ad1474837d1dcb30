"""Qwen-Image 2.1 and Flux 3: told of words by Qwen3-VL."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import transformers

from makers import Tiny
from makers.parts import autoencoders, encoders, language, tokenizers

#: What every call is told.
PARAMS = {"prompt": "a red star", "num_inference_steps": 2, "height": 64, "width": 64}

#: Channels of a latent.
LATENTS = 8


def qwen_image() -> dict[str, Any]:
    """Return what a Qwen-Image 2.1 pipeline is made of; LLaVA's processor stands in for Qwen3-VL's, which needs torchvision."""
    vae = diffusers.AutoencoderKLQwenImage21(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=LATENTS,
        dim_mult=[1, 1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[0.0] * LATENTS,
        latents_std=[1.0] * LATENTS,
    )
    transformer = diffusers.QwenImage21Transformer2DModel(
        in_channels=LATENTS,
        out_channels=LATENTS,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        context_in_dim=encoders.WIDTH,
        axes_dims_rope=(4, 4, 8),
    )
    return {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": vae,
        "text_encoder": language.qwen3_vl(),
        "processor": processor(),
        "transformer": transformer,
    }


def processor() -> Any:
    """Return LLaVA's processor, which reads chats as Qwen3-VL's does."""
    return transformers.LlavaProcessor(
        encoders.clip_images(),
        tokenizers.qwen2(),
        patch_size=encoders.PATCH,
        vision_feature_select_strategy="default",
        chat_template=tokenizers.CHAT,
        image_token="<|image_pad|>",
    )


def flux_3(*, distilled: bool = False) -> dict[str, Any]:
    """Return what a Flux 3 pipeline is made of; Qwen2 stands in for the model that rewrites its prompts."""
    transformer = diffusers.Flux3Transformer2DModel(
        in_channels=16,
        cond_in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=8 * encoders.WIDTH,
        timestep_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        flow_map=distilled,
    )
    return {
        # Every token that it may write stands for something, so that no prompt is rewritten to nothing.
        "prompt_upsampler": encoders.qwen2(vocab_size=264),
        "prompt_upsampler_processor": processor(),
        # Eight of its layers are read, the last of them the 32nd.
        "text_encoder": language.qwen3_vl(num_hidden_layers=33),
        "tokenizer": processor(),
        "vae": autoencoders.flux_2(4),
        "transformer": transformer,
    }


WORDS = PARAMS | {"max_new_tokens": 8}
NO_PROCESSOR = {"image-to-image": "Qwen3-VL's processor of images needs torchvision."}
BLIND = {"image-to-image": "The small language model that writes prompts anew cannot see."}

PIPELINES = (
    Tiny("QwenImage21Pipeline", qwen_image, PARAMS, leaves_out=NO_PROCESSOR),
    Tiny("Flux3DistilledModularPipeline", partial(flux_3, distilled=True), WORDS, leaves_out=BLIND),
    Tiny("Flux3ModularPipeline", flux_3, WORDS, leaves_out=BLIND),
    Tiny("QwenImage21ModularPipeline", qwen_image, PARAMS, leaves_out=NO_PROCESSOR),
    Tiny("QwenImage21TurboModularPipeline", qwen_image, PARAMS, leaves_out=NO_PROCESSOR),
)
