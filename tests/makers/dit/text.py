"""Pipelines that write: a transformer fills in the tokens of a text, block by block."""

from __future__ import annotations

from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, language, tokenizers


def llada_2() -> dict[str, Any]:
    """Return what a LLaDA 2 pipeline is made of."""
    return {
        "model": encoders.qwen2(),
        "scheduler": diffusers.BlockRefinementScheduler(block_length=8),
        "tokenizer": tokenizers.qwen2("<|mask|>", mask_token="<|mask|>"),
    }


def diffusion_gemma() -> dict[str, Any]:
    """Return what a DiffusionGemma pipeline is made of; a tokenizer stands in for its processor, for pictures."""
    return {
        "model": language.diffusion_gemma(canvas=8),
        "scheduler": diffusers.EntropyBoundScheduler(),
        "processor": tokenizers.gemma(length=256),
    }


PIPELINES = (
    Tiny(
        "LLaDA2Pipeline",
        llada_2,
        {"prompt": "a red star", "gen_length": 16, "block_length": 8, "num_inference_steps": 4},
    ),
    Tiny(
        "DiffusionGemmaPipeline", diffusion_gemma, {"prompt": "a red star", "gen_length": 16, "num_inference_steps": 4}
    ),
)
