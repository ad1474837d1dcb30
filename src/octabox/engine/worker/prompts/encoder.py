"""Encode a weighted prompt by Compel, for all layers of an encoder together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from octabox.engine.worker.prompts.parsed import ParsedPrompt, Section
from octabox.prompts.attention import Fragment


@dataclass(frozen=True)
class TokenLayout:
    """How an encoder takes its tokens.

    Args:
        length: Tokens of one chunk, special tokens included.
        chunked: Whether longer prompts are encoded in chunks; else they are truncated.
        has_eos: Whether an end token follows the text.
        padding_mask: The attention mask of padding tokens: 1 if the encoder attends to them, else 0.
    """

    length: int
    chunked: bool
    has_eos: bool = True
    padding_mask: int = 1


class EncoderAdapter:
    """An encoder for Compel, with the outputs of several layers concatenated into one.

    Compel applies weights to each element separately, so that it weights concatenated layers as it weights one.

    Args:
        call: Runs the encoder on tokens and their mask, and returns outputs of shape (1, length, width).
        like: A tensor of the device and dtype to report.
    """

    def __init__(self, call: Callable[[torch.Tensor, torch.Tensor | None], Sequence[torch.Tensor]], like: Any) -> None:
        self._call = call
        self.device, self.dtype = like.device, like.dtype
        self.widths: list[int] = []

    def __call__(self, ids: torch.Tensor, mask: torch.Tensor | None = None, **_: object) -> SimpleNamespace:
        """Return the concatenated outputs in the field that Compel reads."""
        layers = self._call(ids, mask)
        self.widths = [each.shape[-1] for each in layers]
        return SimpleNamespace(last_hidden_state=torch.cat(list(layers), dim=-1))


class PromptEncoder:
    """Encodes prompts with one tokenizer and one encoder.

    Args:
        tokenizer: The tokenizer.
        encoder: The encoder.
        layout: How the encoder takes tokens.
    """

    def __init__(self, tokenizer: Any, encoder: EncoderAdapter, layout: TokenLayout) -> None:
        from compel import Compel  # noqa: PLC0415 (the import takes a second, and few prompts need it)

        self._encoder, self._layout = encoder, layout
        self._compel = Compel(
            tokenizer=tokenizer,
            text_encoder=encoder,
            truncate_long_prompts=not layout.chunked,
            padding_attention_mask_value=layout.padding_mask,
            device=encoder.device,
            model_max_length=layout.length,
            suppress_eos=not layout.has_eos,
        )

    def count_chunks(self, prompt: ParsedPrompt) -> int:
        """Return the number of chunks that a prompt is encoded in."""
        return sum(max(self._count_chunks(branch) for branch in section.branches) for section in prompt.sections)

    def _count_chunks(self, branch: Iterable[Fragment]) -> int:
        return self._tokenize(branch)[0].shape[0] // self._layout.length

    def tokenize(self, prompt: ParsedPrompt) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens of a prompt as a single section, of its longest branch, and their mask, each of shape (length)."""
        branches = [self._tokenize(branch) for branch in prompt.as_single_section().sections[0].branches]
        return max(branches, key=lambda each: int(each[1].sum()))

    def _tokenize(self, branch: Iterable[Fragment]) -> tuple[torch.Tensor, torch.Tensor]:
        fragments = self._drop_empty(branch)
        found = self._compel.conditioning_provider.get_token_ids_and_expand_weights(
            [each.text for each in fragments], [each.weight for each in fragments], device=self._encoder.device
        )
        return found[0], found[2]

    def encode(self, prompt: ParsedPrompt, chunks: int = 1) -> list[torch.Tensor]:
        """Return the weighted output of each layer, of shape (1, chunks * length, width).

        Args:
            prompt: The prompt.
            chunks: Chunks of the longest prompt of the call; shorter ones are padded with the encoding of an empty prompt.
        """
        sections = prompt.sections if self._layout.chunked else prompt.as_single_section().sections
        found = torch.cat([self._encode_section(section) for section in sections], dim=1)
        if missing := chunks - found.shape[1] // self._layout.length:
            found = torch.cat([found, *[self._compel.conditioning_provider.empty_z.to(found)] * missing], dim=1)
        return [each.contiguous() for each in torch.split(found, self._encoder.widths, dim=-1)]

    def _encode_section(self, section: Section) -> torch.Tensor:
        from compel.prompt_parser import Blend, Conjunction, FlattenedPrompt  # noqa: PLC0415 (as above)

        branches = [
            FlattenedPrompt([(each.text, each.weight) for each in self._drop_empty(branch)])
            for branch in section.branches
        ]
        part = branches[0] if len(branches) == 1 else Blend(branches, section.blend_weights, section.normalize)
        found: torch.Tensor = self._compel.build_conditioning_tensor_for_conjunction(
            Conjunction([part], [section.weight])
        )[0]
        return found

    def _drop_empty(self, branch: Iterable[Fragment]) -> list[Fragment]:
        """Return the fragments that have tokens: Compel fails for those that have none."""
        tokenize = self._compel.conditioning_provider.get_token_ids
        kept = [
            each
            for each in _move_spaces(branch)
            if each.text.strip() and tokenize([each.text], include_start_and_end_markers=False)[0]
        ]
        return kept or [Fragment("")]


def _move_spaces(branch: Iterable[Fragment]) -> list[Fragment]:
    """Return fragments with the space between two at the start of the second, as tokenizers that encode spaces expect it."""
    found: list[Fragment] = []
    space = ""
    for each in branch:
        text = space + each.text
        stripped = text.rstrip()
        space = " " if stripped != text and (found or stripped) else ""
        if not found:
            stripped = stripped.lstrip()
        if stripped:
            found.append(Fragment(stripped, each.weight))
    return found
