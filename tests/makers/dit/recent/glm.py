"""GLM-Image: a language model writes rough tokens of an image, from which a transformer draws."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers
from tokenizers.pre_tokenizers import ByteLevel

from makers import Tiny
from makers.parts import encoders, tokenizers, vaes

#: How many tokens an image may be written with.
TOKENS = 64

#: Names of the marks that the processor asks the tokenizer for.
MARKS = {"image_token": "<|image|>", "grid_bos_token": "<sop>", "grid_eos_token": "<eop>", "bos_token": "<|start|>"}


def glm_image() -> dict[str, Any]:
    """Return what a GLM-Image pipeline is made of."""
    transformer = diffusers.GlmImageTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        text_embed_dim=encoders.WIDTH,
        time_embed_dim=16,
        condition_dim=8,
        prior_vq_quantizer_codebook_size=TOKENS + 2,
    )
    return {
        "tokenizer": transformers.ByT5Tokenizer(),
        "processor": transformers.GlmImageProcessor(
            image_processor=transformers.GlmImageImageProcessorPil(patch_size=8, merge_size=1),
            tokenizer=_tokenizer(),
            chat_template=tokenizers.CHAT,
        ),
        "text_encoder": encoders.t5_encoder(),
        "vision_language_encoder": _writer(),
        "vae": vaes.kl(4, 3, latents_mean=[0.0] * 4, latents_std=[1.0] * 4),
        "transformer": transformer,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type="linear"),
    }


def _tokenizer() -> Any:
    letters = [*sorted(ByteLevel.alphabet()), "<|endoftext|>"]
    return transformers.Qwen2Tokenizer(
        vocab={letter: number for number, letter in enumerate(letters)},
        merges=[],
        **MARKS,
    )


def _writer() -> Any:
    """Return the language model that writes images; nothing ends them before they are whole."""
    width = encoders.WIDTH
    text = encoders.causal(width) | {"eos_token_id": None, "vision_vocab_size": TOKENS + 2}
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
    vision = {
        "depth": 1,
        "hidden_size": width,
        "num_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "intermediate_size": 32,
    }
    book = {"embed_dim": 16, "num_embeddings": TOKENS, "latent_channels": width}
    config = transformers.GlmImageConfig(
        text_config=text,
        vision_config=vision,
        vq_config=book,
        image_token_id=_tokenizer().convert_tokens_to_ids(MARKS["image_token"]),
        image_start_token_id=TOKENS,
        image_end_token_id=TOKENS + 1,
    )
    return transformers.GlmImageForConditionalGeneration(config)


CALL = {"prompt": "a red star", "num_inference_steps": 2, "height": 32, "width": 32}

NOT_HERE = {"image-to-image": "Its own processor needs torchvision, and the one that stands in knows no images."}

PIPELINES = (Tiny("GlmImagePipeline", glm_image, CALL, leaves_out=NOT_HERE),)
