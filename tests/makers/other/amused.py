"""aMUSEd: images of tokens that are guessed, the surest first."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, tokenizers, vaes
from makers.parts.encoders import WIDTH
from makers.parts.making import maker

#: Entries of the code book.
CODES = 32

#: A call that is over at once.
CALL = {"prompt": "a red star", "num_inference_steps": 2, "height": 16, "width": 16}


def transformer() -> Any:
    """Return the transformer over tokens; the last of its vocabulary stands for a token not yet guessed."""
    return diffusers.UVit2DModel(
        hidden_size=16,
        cond_embed_dim=WIDTH,
        micro_cond_encode_dim=2,
        micro_cond_embed_dim=10,
        encoder_hidden_size=WIDTH,
        vocab_size=CODES + 1,
        codebook_size=CODES,
        in_channels=8,
        block_out_channels=8,
        num_res_blocks=1,
        downsample=True,
        upsample=True,
        block_num_heads=1,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=16,
        sample_size=8,
    )


#: What it is made of.
PARTS: dict[str, Any] = {
    "vqvae": partial(vaes.vq, 8, num_vq_embeddings=CODES, lookup_from_codebook=True, sample_size=16),
    "tokenizer": tokenizers.clip,
    "text_encoder": encoders.clip_text_with_projection,
    "transformer": transformer,
    "scheduler": partial(diffusers.AmusedScheduler, mask_token_id=CODES),
}

PIPELINES = (
    Tiny("AmusedPipeline", maker(PARTS), CALL),
    Tiny("AmusedImg2ImgPipeline", maker(PARTS), CALL),
    Tiny("AmusedInpaintPipeline", maker(PARTS), CALL),
)
