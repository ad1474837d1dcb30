"""Encode one text with one encoder, weighted and in chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from octabox.engine.worker.prompts.encoder import EncoderAdapter, PromptEncoder
from octabox.engine.worker.prompts.encoder_output import replace_layers, split_layers
from octabox.engine.worker.prompts.parsed import parse_plain
from octabox.engine.worker.prompts.text_encoders import QuietTokenizer, TextEncoder
from octabox.engine.worker.prompts.tokenizer import TokenizedText, token_layout, tokenizer_for

#: The name of the final norm in CLIP models.
FINAL_NORM = "final_layer_norm"


def find_final_norm(encoder: TextEncoder) -> Any:
    """Return the norm after the last layer of a CLIP encoder; None for other encoders."""
    if encoder.kind != "clip":
        return None
    return next((part for name, part in encoder.module.named_modules() if name.split(".")[-1] == FINAL_NORM), None)


@dataclass(frozen=True)
class EncodeJob:
    """The encoding of one text.

    Args:
        encoder: The encoder.
        forward: Its original forward pass.
        text: The text.
        ids: The tokens that the pipeline has made of it, of shape (1, length).
        mask: Their attention mask; None if the pipeline passes none.
        options: The other arguments of the pipeline's call.
        normed: Whether the pipeline applies the final norm to an earlier layer.
    """

    encoder: TextEncoder
    forward: Callable[..., Any]
    text: TokenizedText
    ids: torch.Tensor
    mask: torch.Tensor | None
    options: Mapping[str, Any]
    normed: bool

    def encode(self, tokenizer: Any, chunks: int, *, chunked: bool) -> tuple[Any, tuple[torch.Tensor, ...]]:
        """Return the output with weights applied to every layer, and the normalized layers.

        Pooled embeddings are those of the text without weights, as far as it fits into one chunk.

        Args:
            tokenizer: The tokenizer of the encoder.
            chunks: Chunks of the longest prompt of the call.
            chunked: Whether a long text is encoded in chunks.
        """
        norm = find_final_norm(self.encoder) if self.normed else None
        prompt = self.text.prompt or parse_plain(self.text.text)
        is_fixed = bool(self.encoder.max_length)
        length = self.encoder.max_length or self.ids.shape[-1]
        base = self._run(self._first_chunk(tokenizer, prompt.text, length), None if is_fixed else self.mask)

        def run_layers(ids: torch.Tensor, mask: torch.Tensor | None) -> list[torch.Tensor]:
            return split_layers(self._run(ids, mask), norm)

        layout = token_layout(self.text, length, chunked=chunked, masked=self.mask is not None and not is_fixed)
        like = split_layers(base, None)[0]
        encoder = PromptEncoder(tokenizer_for(tokenizer, self.ids[0]), EncoderAdapter(run_layers, like), layout)
        return replace_layers(base, encoder.encode(prompt, chunks))

    def _run(self, ids: torch.Tensor, mask: torch.Tensor | None) -> Any:
        return self.forward(ids.to(self.ids.device), attention_mask=mask, **self.options, return_dict=True)

    def _first_chunk(self, tokenizer: Any, text: str, length: int) -> torch.Tensor:
        """Return the tokens of a text, truncated to the context length of the encoder."""
        if not self.encoder.max_length:
            return self.ids
        found = QuietTokenizer(tokenizer, has_bos=True)(
            [text], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        ids: torch.Tensor = found["input_ids"]
        return ids
