"""Encode one text for one encoder, weighted and by pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from octabox.engine.worker.prompts.encoder import EncoderAdapter, PromptEncoder
from octabox.engine.worker.prompts.encoders import TextEncoder
from octabox.engine.worker.prompts.layers import layers_of, with_layers
from octabox.engine.worker.prompts.parsed import plain
from octabox.engine.worker.prompts.tokenizer import Row, Tokens, frame_of, tokens_of

#: How CLIP calls the norm that its last layer goes through.
LAST_NORM = "final_layer_norm"


def last_norm(encoder: TextEncoder) -> Any:
    """Return the norm behind an encoder's last layer; None where it is no CLIP."""
    if encoder.kind != "clip":
        return None
    return next((part for name, part in encoder.module.named_modules() if name.split(".")[-1] == LAST_NORM), None)


@dataclass(frozen=True)
class Job:
    """A text for an encoder.

    Args:
        encoder: The encoder.
        own: Its own forward pass.
        row: The text.
        ids: The tokens that the pipeline has of it, of shape (1, length).
        mask: Which of them are words, likewise; None where the pipeline does not say.
        options: What else the pipeline calls the encoder with.
        normed: Whether the pipeline takes an earlier layer and puts it through the last norm.
    """

    encoder: TextEncoder
    own: Callable[..., Any]
    row: Row
    ids: torch.Tensor
    mask: torch.Tensor | None
    options: Mapping[str, Any]
    normed: bool

    def encode(self, tokenizer: Any, pieces: int, *, whole: bool) -> tuple[Any, tuple[torch.Tensor, ...]]:
        """Return the encoder's output with every layer weighed, and what the last norm makes of the layers.

        What sums the prompt up is that of its plain words, of as many as the encoder takes at once.

        Args:
            tokenizer: The encoder's.
            pieces: By how many pieces the longest prompt of the call goes in.
            whole: Whether more than one piece is taken.
        """
        norm = last_norm(self.encoder) if self.normed else None
        reading = self.row.reading or plain(self.row.text)
        length = self.encoder.places or self.ids.shape[-1]
        base = self._run(
            self._first_piece(tokenizer, reading.plain, length), self.mask if not self.encoder.places else None
        )

        def layers(ids: torch.Tensor, mask: torch.Tensor | None) -> list[torch.Tensor]:
            return layers_of(self._run(ids, mask), norm)

        frame = frame_of(self.row, length, whole=whole, masked=self.mask is not None and not self.encoder.places)
        like = layers_of(base, None)[0]
        weigher = PromptEncoder(tokens_of(tokenizer, self.ids[0]), EncoderAdapter(layers, like), frame)
        return with_layers(base, weigher.encode(reading, pieces))

    def _run(self, ids: torch.Tensor, mask: torch.Tensor | None) -> Any:
        return self.own(ids.to(self.ids.device), attention_mask=mask, **self.options, return_dict=True)

    def _first_piece(self, tokenizer: Any, words: str, length: int) -> torch.Tensor:
        """Return the tokens of as many words as the encoder takes at once."""
        if not self.encoder.places:
            return self.ids
        found = Tokens(tokenizer, begins=True)(
            [words], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        made: torch.Tensor = found["input_ids"]
        return made
