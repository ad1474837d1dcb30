"""The text encoders of a pipeline, and what is known of how each takes its words."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal

from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: How an encoder takes its words: `clip` has a fixed number of places for tokens and may take long words by pieces; `sequence`
#: takes as many tokens as a pipeline gives it, the words at their head; the last is one that Compel does not know.
Kind = Literal["clip", "sequence", ""]

#: Kinds of encoder by what their configuration calls them.
KINDS: dict[str, Kind] = {
    "clip": "clip",
    "clip_text_model": "clip",
    "t5": "sequence",
    "umt5": "sequence",
    "gemma": "sequence",
    "gemma2": "sequence",
}

#: What a component's name has where it is an encoder, and where it is its tokenizer.
ENCODER, TOKENIZER = "text_encoder", "tokenizer"


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder of a pipeline.

    Args:
        name: Its component.
        module: Its weights.
        tokenizer: Component that makes its tokens; empty where none is known.
        kind: How Compel takes it; empty where it does not know it.
        places: How many tokens it takes at once, marks included; 0 where that is not fixed.
    """

    name: str
    module: Any
    tokenizer: str = ""
    kind: Kind = ""
    places: int = 0

    @property
    def layers(self) -> int:
        """How many layers it has; 0 where it does not say."""
        return int(getattr(self.module.config, "num_hidden_layers", 0))


def tokenizers(pipe: Any) -> dict[str, Any]:
    """Return the tokenizers of a pipeline by component."""
    return {name: part for name, part in pipe.components.items() if isinstance(part, PreTrainedTokenizerBase)}


def text_encoders(pipe: Any) -> list[TextEncoder]:
    """Return the text encoders of a pipeline, each with the tokenizer of the same number."""
    names = tokenizers(pipe)
    found = []
    for name, part in pipe.components.items():
        if not isinstance(part, PreTrainedModel) or "input_ids" not in inspect.signature(type(part).forward).parameters:
            continue
        own = name.replace(ENCODER, TOKENIZER) if ENCODER in name else ""
        tokenizer = own if own in names else next(iter(names)) if len(names) == 1 else ""
        kind: Kind = KINDS.get(getattr(part.config, "model_type", ""), "")
        places = 0
        if kind == "clip" and tokenizer:
            places = min(int(part.config.max_position_embeddings), int(names[tokenizer].model_max_length))
        found.append(TextEncoder(name, part, tokenizer, kind if tokenizer else "", places))
    return found
