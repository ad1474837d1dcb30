"""Tokenizers made on the spot: a few hundred tokens each, and every text can be written with them."""

from __future__ import annotations

import string
from typing import Any

import transformers
from tokenizers.pre_tokenizers import ByteLevel

#: No tokenizer here has more tokens than this: the vocabulary size of every tiny encoder.
VOCABULARY = 1024

#: A chat as most language models write it; content may be a text, or a list of parts.
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

#: What a chat and the images in it are marked with.
MARKS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def clip(length: int = 77, **settings: Any) -> Any:
    """Return a CLIP tokenizer; the last two of its tokens mark the start and the end of a text."""
    letters = sorted(ByteLevel.alphabet())
    merges = [("r", "e"), ("re", "d</w>"), ("s", "t"), ("a", "r</w>"), ("st", "ar</w>")]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(vocab=_numbered(tokens), merges=merges, model_max_length=length, **settings)


def t5(length: int = 32, **settings: Any) -> Any:
    """Return a T5 tokenizer over single letters and a few words."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *_pieces()]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=length, **settings)


def xlm_roberta(length: int = 77, **settings: Any) -> Any:
    """Return an XLM-RoBERTa tokenizer over the pieces of the T5 tokenizer."""
    marks = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [*((mark, 0.0) for mark in marks), *_pieces(), ("<mask>", 0.0)]
    return transformers.XLMRobertaTokenizer(vocab=pieces, model_max_length=length, **settings)


def qwen2(*marks: str, length: int = 4096, **settings: Any) -> Any:
    """Return a tokenizer as language models of today have it: bytes, marks of a chat, and a chat template.

    Args:
        *marks: Special tokens beside those of a chat.
        length: Most tokens of a text.
        **settings: Further settings of the class.
    """
    settings.setdefault("chat_template", CHAT)
    return transformers.Qwen2Tokenizer(
        vocab=_numbered([*sorted(ByteLevel.alphabet()), "<|endoftext|>"]),
        merges=[],
        extra_special_tokens=[*MARKS, *marks],
        model_max_length=length,
        **settings,
    )


def gpt2(length: int = 1024, **settings: Any) -> Any:
    """Return a GPT-2 tokenizer that pads with the token that ends a text."""
    tokens = [*sorted(ByteLevel.alphabet()), "<|endoftext|>"]
    settings.setdefault("pad_token", "<|endoftext|>")
    return transformers.GPT2Tokenizer(vocab=_numbered(tokens), merges=[], model_max_length=length, **settings)


def roberta(length: int = 77, **settings: Any) -> Any:
    """Return a RoBERTa tokenizer."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "<mask>"]
    return transformers.RobertaTokenizer(vocab=_numbered(tokens), merges=[], model_max_length=length, **settings)


def llama(length: int = 256, **settings: Any) -> Any:
    """Return a Llama tokenizer over bytes."""
    tokens = ["<unk>", "<s>", "</s>", *_bytes(), "▁", *string.ascii_letters, *string.digits]
    settings.setdefault("pad_token", "<unk>")
    settings.setdefault("chat_template", CHAT)
    return transformers.LlamaTokenizer(vocab=_numbered(tokens), merges=[], model_max_length=length, **settings)


def gemma(*marks: str, length: int = 256, **settings: Any) -> Any:
    """Return a Gemma tokenizer over bytes, with special tokens beside its own."""
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *_bytes(), "▁", *string.ascii_letters, *string.digits]
    settings.setdefault("chat_template", CHAT)
    return transformers.GemmaTokenizer(
        vocab=_numbered(tokens), merges=[], extra_special_tokens=list(marks), model_max_length=length, **settings
    )


def bert(length: int = 77, **settings: Any) -> Any:
    """Return a BERT tokenizer over single letters."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), "red"]
    return transformers.BertTokenizer(vocab=_numbered(tokens), model_max_length=length, **settings)


def _pieces() -> list[tuple[str, float]]:
    words = ["▁", "▁a", "▁red", "▁star", "▁the"]
    letters = string.ascii_letters + string.digits + string.punctuation
    return [*((word, -1.0) for word in words), *((letter, -4.0) for letter in letters)]


def _bytes() -> list[str]:
    return [f"<0x{number:02X}>" for number in range(256)]


def _numbered(tokens: list[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(tokens)}
