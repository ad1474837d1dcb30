"""Kolors: a UNet as Stable Diffusion XL's that follows a language model."""

from __future__ import annotations

import io
import string
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import sentencepiece

from makers import Tiny
from makers.parts import encoders, schedulers, unets, vaes
from makers.parts.encoders import WIDTH
from makers.parts.making import maker
from makers.unet.stable_diffusion import CALL


@cache
def vocabulary() -> Path:
    """Return the file of a tokenizer over single letters; it lies in a temporary folder that nobody removes."""
    model = io.BytesIO()
    letters = string.ascii_letters + string.digits + string.punctuation
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(letters), letters]),
        model_writer=model,
        model_type="char",
        vocab_size=len(letters) + 4,
        minloglevel=2,
    )
    path = Path(tempfile.mkdtemp(prefix="octabox-tests-")) / "tokenizer.model"
    path.write_bytes(model.getvalue())
    return path


def tokenizer() -> Any:
    """Return the tokenizer."""
    from diffusers.pipelines.kolors import ChatGLMTokenizer  # noqa: PLC0415

    return ChatGLMTokenizer(str(vocabulary()))


def text_encoder() -> Any:
    """Return the language model."""
    from diffusers.pipelines.kolors import ChatGLMModel  # noqa: PLC0415
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig  # noqa: PLC0415

    config = ChatGLMConfig(
        num_layers=2,
        padded_vocab_size=128,
        hidden_size=WIDTH,
        ffn_hidden_size=WIDTH,
        kv_channels=8,
        num_attention_heads=4,
        seq_length=256,
        add_qkv_bias=True,
        multi_query_attention=True,
        multi_query_group_num=2,
        original_rope=True,
    )
    return ChatGLMModel(config)


def unet() -> Any:
    """Return the UNet."""
    return unets.large(encoder_hid_dim_type="text_proj", encoder_hid_dim=WIDTH)


#: What it is made of.
PARTS: dict[str, Any] = {
    "vae": vaes.kl,
    "text_encoder": text_encoder,
    "tokenizer": tokenizer,
    "unet": unet,
    "scheduler": partial(schedulers.euler, num_train_timesteps=1100),
    "image_encoder": encoders.clip_vision_with_projection,
    "feature_extractor": encoders.clip_images,
}

PIPELINES = (
    Tiny("KolorsPipeline", maker(PARTS), CALL | {"max_sequence_length": 64}),
    Tiny("KolorsImg2ImgPipeline", maker(PARTS), CALL | {"max_sequence_length": 64, "strength": 0.8}),
    Tiny("KolorsPAGPipeline", maker(PARTS), CALL | {"max_sequence_length": 64}),
)
