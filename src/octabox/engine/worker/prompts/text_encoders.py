"""Find the text encoders of a pipeline, and how each takes its tokens."""

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
