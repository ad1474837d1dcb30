"""Find the text encoders of a pipeline and how each takes its tokens, and count the tokens of a text."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal

from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: How an encoder takes tokens: `clip` has a fixed context length and may take a long prompt in chunks; `sequence` takes any
#: number of tokens; Compel does not support the last.
Kind = Literal["clip", "sequence", ""]

#: Kinds of encoder by the model type of their configuration.
KINDS: dict[str, Kind] = {
    "clip": "clip",
    "clip_text_model": "clip",
    "t5": "sequence",
    "umt5": "sequence",
    "gemma": "sequence",
    "gemma2": "sequence",
}

#: Prefixes of the component names of encoders and tokenizers.
ENCODER, TOKENIZER = "text_encoder", "tokenizer"

#: The attribute of the class of a tokenizer with hooks that names the class without them.
ORIGINAL_CLASS = "octabox_hooks"


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder of a pipeline.

    Args:
        name: The name of the component.
        module: The model.
        tokenizer: The component that tokenizes for it; empty if unknown.
        kind: How it takes tokens; empty if Compel does not support it.
        max_length: Its context length, special tokens included; 0 if it is not fixed.
    """

    name: str
    module: Any
    tokenizer: str = ""
    kind: Kind = ""
    max_length: int = 0

    @property
    def num_layers(self) -> int:
        """The number of its hidden layers; 0 if its configuration does not state it."""
        return int(getattr(self.module.config, "num_hidden_layers", 0))


def find_tokenizers(pipe: Any) -> dict[str, Any]:
    """Return the tokenizers of a pipeline by component."""
    return {name: part for name, part in pipe.components.items() if isinstance(part, PreTrainedTokenizerBase)}


def find_text_encoders(pipe: Any) -> list[TextEncoder]:
    """Return the text encoders of a pipeline, each with the tokenizer of the same number."""
    tokenizers = find_tokenizers(pipe)
    found = []
    for name, part in pipe.components.items():
        if not isinstance(part, PreTrainedModel) or "input_ids" not in inspect.signature(type(part).forward).parameters:
            continue
        matching = name.replace(ENCODER, TOKENIZER) if ENCODER in name else ""
        tokenizer = matching if matching in tokenizers else next(iter(tokenizers)) if len(tokenizers) == 1 else ""
        kind: Kind = KINDS.get(getattr(part.config, "model_type", ""), "")
        max_length = 0
        if kind == "clip" and tokenizer:
            max_length = min(int(part.config.max_position_embeddings), int(tokenizers[tokenizer].model_max_length))
        found.append(TextEncoder(name, part, tokenizer, kind if tokenizer else "", max_length))
    return found


class QuietTokenizer:
    """A tokenizer without hooks and warnings, for Compel.

    Args:
        tokenizer: The tokenizer.
        has_bos: Whether the pipeline's tokens have a begin token.
    """

    def __init__(self, tokenizer: Any, *, has_bos: bool) -> None:
        self._tokenizer, self._call = tokenizer, original_class(tokenizer).__call__
        self.bos_token_id = tokenizer.bos_token_id if has_bos else None

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Return the tokens of texts."""
        return self._call(self._tokenizer, *args, verbose=False, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def original_class(tokenizer: Any) -> Any:
    """Return the class of a tokenizer without hooks."""
    return getattr(type(tokenizer), ORIGINAL_CLASS, type(tokenizer))


def count_tokens(tokenizer: Any, text: str) -> int:
    """Return the number of tokens of a text, special tokens included."""
    return len(QuietTokenizer(tokenizer, has_bos=True)(text)["input_ids"])


def convert_prompt(pipe: Any, tokenizer: Any, text: str) -> str:
    """Return a text with textual inversions of several vectors expanded, as pipelines do before they tokenize."""
    convert = getattr(pipe, "maybe_convert_prompt", None)
    return str(convert(text, tokenizer)) if convert else text
