"""UniDiffuser: images from texts, and texts from images."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import torch

from makers import Tiny
from makers.parts import encoders, schedulers, tokenizers, vaes
from makers.parts.encoders import WIDTH
from makers.parts.making import maker


def unet() -> Any:
    """Return the transformer over latents, embeddings and texts."""
    return diffusers.UniDiffuserModel(
        text_dim=WIDTH,
        clip_img_dim=WIDTH,
        num_text_tokens=77,
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        norm_num_groups=4,
        sample_size=16,
        patch_size=2,
        activation_fn="gelu",
        num_embeds_ada_norm=1000,
        norm_type="layer_norm",
        block_type="unidiffuser",
        use_data_type_embedding=True,
    )


def text_decoder() -> Any:
    """Return what writes a text down, for the GPT-2 tokenizer."""
    decoder = diffusers.UniDiffuserTextDecoder(
        prefix_length=77,
        prefix_inner_dim=WIDTH,
        prefix_hidden_dim=WIDTH,
        vocab_size=257,
        n_positions=256,
        n_embd=WIDTH,
        n_layer=1,
        n_head=2,
    )
    # Two layers share their weights, which safetensors refuses to save.
    head = decoder.transformer.lm_head
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    return decoder


PIPELINES = (
    Tiny(
        "UniDiffuserPipeline",
        maker(
            {
                "vae": partial(vaes.kl, halvings=1),
                "text_encoder": partial(encoders.clip_text, max_position_embeddings=77),
                "image_encoder": encoders.clip_vision_with_projection,
                "clip_image_processor": encoders.clip_images,
                "clip_tokenizer": tokenizers.clip,
                "text_decoder": text_decoder,
                "text_tokenizer": tokenizers.gpt2,
                "unet": unet,
                "scheduler": schedulers.ddim,
            }
        ),
        {"prompt": "a red star", "num_inference_steps": 2, "height": 32, "width": 32},
    ),
)
