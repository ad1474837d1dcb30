"""VQ Diffusion: images of tokens that lose their noise one by one."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, tokenizers, vaes
from makers.parts.encoders import WIDTH
from makers.parts.making import maker

#: Entries of the code book, and tokens of a side of an image.
CODES, SIDE = 12, 8


def transformer() -> Any:
    """Return the transformer over tokens; the last of its vocabulary stands for a token not yet guessed."""
    return diffusers.Transformer2DModel(
        attention_bias=True,
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
        num_attention_heads=2,
        num_vector_embeds=CODES,
        num_embeds_ada_norm=CODES,
        norm_num_groups=8,
        sample_size=SIDE,
        activation_fn="geglu-approximate",
    )


def unconditional() -> Any:
    """Return the embedding that stands for no text."""
    from diffusers.pipelines.deprecated.vq_diffusion import LearnedClassifierFreeSamplingEmbeddings  # noqa: PLC0415

    return LearnedClassifierFreeSamplingEmbeddings(learnable=True, hidden_size=WIDTH, length=77)


PIPELINES = (
    Tiny(
        "VQDiffusionPipeline",
        maker(
            {
                "vqvae": partial(vaes.vq, 3, num_vq_embeddings=CODES, vq_embed_dim=3),
                "text_encoder": encoders.clip_text,
                "tokenizer": tokenizers.clip,
                "transformer": transformer,
                "scheduler": partial(diffusers.VQDiffusionScheduler, num_vec_classes=CODES),
                "learned_classifier_free_sampling_embeddings": unconditional,
            }
        ),
        {"prompt": "a red star", "num_inference_steps": 2},
    ),
)
