"""Language models that only some families use, with random weights, and models that read images and words.

Marks are those of the Qwen2 tokenizer. Every function takes further settings of the configuration by name.
"""

from __future__ import annotations

from typing import Any

import transformers

from makers.parts.encoders import PATCH, WIDTH, causal
from makers.parts.tokenizers import MARKS

#: How positions in time, height and width share the 4 pairs of numbers of a head.
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}


def gemma(width: int = WIDTH, **settings: Any) -> Any:
    """Return a Gemma language model without its head."""
    return transformers.GemmaModel(transformers.GemmaConfig(**(_heads(width) | settings)))


def glm(width: int = WIDTH, **settings: Any) -> Any:
    """Return a GLM language model without its head."""
    return transformers.GlmModel(transformers.GlmConfig(**(_heads(width) | settings)))


def llama(width: int = WIDTH, **settings: Any) -> Any:
    """Return a Llama language model with the head that chooses words."""
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**(_heads(width) | settings)))


def smollm3(width: int = WIDTH, **settings: Any) -> Any:
    """Return a SmolLM 3 language model with the head that chooses words."""
    return transformers.SmolLM3ForCausalLM(transformers.SmolLM3Config(**(causal(width) | settings)))


def siglip_2(width: int = WIDTH, **settings: Any) -> Any:
    """Return a SigLIP 2 vision encoder, which takes images of any shape as patches."""
    shape = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "patch_size": PATCH,
        "num_patches": 16,
    }
    return transformers.Siglip2VisionModel(transformers.Siglip2VisionConfig(**(shape | settings)))


def qwen3(width: int = WIDTH, **settings: Any) -> Any:
    """Return a Qwen3 language model without its head."""
    return transformers.Qwen3Model(transformers.Qwen3Config(**(_heads(width) | settings)))


def qwen2_5_vl(width: int = WIDTH, **settings: Any) -> Any:
    """Return a Qwen2.5-VL model: a language model with the head that chooses words, which is shown images."""
    text = causal(width) | {"rope_parameters": ROPE} | settings
    vision = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "out_hidden_size": width,
        "depth": 1,
        "num_heads": 4,
        "patch_size": 4,
        "window_size": 16,
        "fullatt_block_indexes": [0],
    }
    return transformers.Qwen2_5_VLForConditionalGeneration(
        transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **_vision_marks())
    )


def mistral3(width: int = WIDTH, **settings: Any) -> Any:
    """Return a Mistral 3 model, which is shown images, with the head that chooses words."""
    return transformers.Mistral3ForConditionalGeneration(_mistral3_config(width, **settings))


def mistral3_body(width: int = WIDTH, **settings: Any) -> Any:
    """Return a Mistral 3 model without its head."""
    return transformers.Mistral3Model(_mistral3_config(width, **settings))


def qwen3_vl(width: int = WIDTH, **settings: Any) -> Any:
    """Return a Qwen3-VL model, which is shown images, with the head that chooses words."""
    return transformers.Qwen3VLForConditionalGeneration(_qwen3_vl_config(width, **settings))


def qwen3_vl_body(width: int = WIDTH, **settings: Any) -> Any:
    """Return a Qwen3-VL model without its head."""
    return transformers.Qwen3VLModel(_qwen3_vl_config(width, **settings))


def _qwen3_vl_config(width: int, **settings: Any) -> Any:
    text = _heads(width) | {"rope_parameters": ROPE} | settings
    vision = {
        "depth": 1,
        "hidden_size": width,
        "intermediate_size": width,
        "num_heads": 4,
        "patch_size": 4,
        "out_hidden_size": width,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0],
    }
    return transformers.Qwen3VLConfig(text_config=text, vision_config=vision, **_vision_marks())


def _mistral3_config(width: int, **settings: Any) -> Any:
    text = _heads(width) | {"model_type": "mistral"} | settings
    vision = {
        "model_type": "pixtral",
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": PATCH,
    }
    image = _vision_marks()["image_token_id"]
    return transformers.Mistral3Config(text_config=text, vision_config=vision, image_token_index=image)


def _heads(width: int) -> dict[str, Any]:
    return causal(width) | {"head_dim": width // 4}


def _vision_marks() -> dict[str, int]:
    """Return the ids of the tokens that images and clips are marked with; those of the tokenizer's bytes come first."""
    ids = {mark: 257 + place for place, mark in enumerate(MARKS)}
    return {
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
    }
