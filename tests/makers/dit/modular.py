"""Modular pipelines: the parts of other families, run by blocks."""

from __future__ import annotations

from typing import Any

import diffusers

from makers import Tiny
from makers.dit import flux, lumina, sd3
from makers.dit.recent import flux2, krea, qwen
from makers.parts import autoencoders, encoders, language, tokenizers, unets, vaes


def z_image() -> dict[str, Any]:
    """Return the parts of a Z-Image pipeline, with a language model without its head."""
    return lumina.z_image() | {"text_encoder": language.qwen3()}


def klein() -> dict[str, Any]:
    """Return the parts of a Flux 2 Klein pipeline."""
    return {name: part for name, part in flux2.klein().items() if name != "is_distilled"}


def xl() -> dict[str, Any]:
    """Return the parts of a Stable Diffusion XL pipeline."""
    return {
        "vae": vaes.kl(),
        "text_encoder": encoders.clip_text(),
        "text_encoder_2": encoders.clip_text_with_projection(),
        "tokenizer": tokenizers.clip(),
        "tokenizer_2": tokenizers.clip(),
        "unet": unets.large(),
        "scheduler": diffusers.EulerDiscreteScheduler(),
    }


def layered() -> dict[str, Any]:
    """Return the parts of a Qwen-Image pipeline that takes an image apart."""
    return qwen.layered()


def anima() -> dict[str, Any]:
    """Return the parts of an Anima pipeline, which reads words with Qwen3 and joins them to those of a T5 tokenizer."""
    conditioner = diffusers.AnimaTextConditioner(
        source_dim=encoders.WIDTH,
        target_dim=encoders.WIDTH,
        model_dim=encoders.WIDTH,
        num_layers=1,
        num_attention_heads=2,
        mlp_ratio=2.0,
        target_vocab_size=tokenizers.VOCABULARY,
        min_sequence_length=16,
    )
    transformer = diffusers.CosmosTransformer3DModel(
        in_channels=16,
        out_channels=16,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        mlp_ratio=2.0,
        text_embed_dim=encoders.WIDTH,
        adaln_lora_dim=4,
        max_size=(4, 32, 32),
        extra_pos_embed_type=None,
        # A mask would be brought to size by torchvision.
        concat_padding_mask=False,
    )
    return {
        "text_encoder": language.qwen3(),
        "tokenizer": tokenizers.qwen2(),
        "t5_tokenizer": tokenizers.t5(),
        "vae": autoencoders.qwen(),
        "text_conditioner": conditioner,
        "transformer": transformer,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


def wan(channels: int = 4, **settings: Any) -> dict[str, Any]:
    """Return the parts of a Wan pipeline; its videos are 8 times larger than its latents, and 4 times longer.

    Args:
        channels: How many the transformer takes: the latents, and where it is shown an image, that and a mask.
        **settings: Further settings of the transformer.
    """
    vae = diffusers.AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    transformer = diffusers.WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=channels,
        out_channels=4,
        text_dim=encoders.WIDTH,
        freq_dim=16,
        ffn_dim=16,
        num_layers=1,
        rope_max_seq_len=32,
        **settings,
    )
    return {
        "text_encoder": encoders.umt5_encoder(),
        "tokenizer": tokenizers.t5(),
        "vae": vae,
        "transformer": transformer,
        "scheduler": diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
    }


def wan_of_two() -> dict[str, Any]:
    """Return the parts of a Wan 2.2 pipeline: the transformer of the first steps, and that of the last."""
    return wan() | {"transformer_2": wan()["transformer"]}


KONTEXT = flux.PARAMS | flux.IMAGE | {"max_area": 1024, "_auto_resize": False}
LARGE = {"prompt": "a red star", "num_inference_steps": 2, "height": 32, "width": 32}
CLIP = LARGE | {"num_frames": 5, "max_sequence_length": 16}

PIPELINES = (
    Tiny("AnimaModularPipeline", anima, LARGE | {"max_sequence_length": 16}),
    Tiny("ErnieImageModularPipeline", flux2.ernie, flux2.PARAMS),
    Tiny("Flux2KleinBaseModularPipeline", klein, flux2.PARAMS | {"image": "sample:image"}),
    Tiny("Flux2KleinModularPipeline", klein, flux2.PARAMS | {"image": "sample:image"}),
    Tiny("Flux2ModularPipeline", flux2.flux_2, flux2.PARAMS | {"max_sequence_length": 384, "image": "sample:image"}),
    Tiny("FluxKontextModularPipeline", flux.parts, KONTEXT),
    Tiny("FluxModularPipeline", flux.parts, flux.PARAMS),
    Tiny("Ideogram4ModularPipeline", krea.ideogram_4, krea.STEPS),
    Tiny("Krea2ModularPipeline", krea.krea_2, krea.PARAMS),
    Tiny("Krea2TurboModularPipeline", krea.krea_2, krea.PARAMS),
    Tiny("QwenImageModularPipeline", qwen.qwen_image, qwen.PARAMS),
    Tiny("StableDiffusion3ModularPipeline", sd3.parts, sd3.PARAMS),
    Tiny("StableDiffusionXLModularPipeline", xl, LARGE),
    Tiny("WanModularPipeline", wan, CLIP),
    Tiny(
        "QwenImageLayeredModularPipeline", layered, qwen.PARAMS | qwen.IMAGE | {"layers": 1, "num_inference_steps": 1}
    ),
    Tiny("Wan22ModularPipeline", wan_of_two, CLIP),
    Tiny("ZImageModularPipeline", z_image, lumina.PARAMS),
)
