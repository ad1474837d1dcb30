"""Encode a weighted prompt by Compel, in all layers of an encoder at once."""

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
        length: Tokens that it takes at once, marks of begin and end included.
        whole: Whether what is longer goes in by several pieces; else it is cut.
        ends: Whether a mark ends the words.
        padding: What the attention mask says of tokens that fill up: 1 where the encoder looks at them, else 0.
    """

    length: int
    whole: bool
    ends: bool = True
    padding: int = 1


class EncoderAdapter:
    """Stands in for an encoder towards Compel: one output that holds those of several layers side by side.

    Compel weighs each number of an output by itself, so that it weighs them all as it would weigh those of one layer.

    Args:
        call: Runs the encoder on tokens and their mask, and returns outputs of shape (1, length, width).
        like: Tells device and dtype.
    """

    def __init__(self, call: Callable[[torch.Tensor, torch.Tensor | None], Sequence[torch.Tensor]], like: Any) -> None:
        self._call = call
        self.device, self.dtype = like.device, like.dtype
        self.widths: list[int] = []

    def __call__(self, ids: torch.Tensor, mask: torch.Tensor | None = None, **_: object) -> SimpleNamespace:
        """Return the outputs side by side, in the field that Compel reads."""
        layers = self._call(ids, mask)
        self.widths = [each.shape[-1] for each in layers]
        return SimpleNamespace(last_hidden_state=torch.cat(list(layers), dim=-1))


class PromptEncoder:
    """Encodes prompts by one tokenizer and one encoder.

    Args:
        tokenizer: The tokenizer.
        layers: The encoder.
        frame: How it takes its tokens.
    """

    def __init__(self, tokenizer: Any, layers: EncoderAdapter, frame: TokenLayout) -> None:
        from compel import Compel  # noqa: PLC0415 (it takes a second, and few prompts need it)

        self._layers, self._frame = layers, frame
        self._compel = Compel(
            tokenizer=tokenizer,
            text_encoder=layers,
            truncate_long_prompts=not frame.whole,
            padding_attention_mask_value=frame.padding,
            device=layers.device,
            model_max_length=frame.length,
            suppress_eos=not frame.ends,
        )

    def pieces(self, reading: ParsedPrompt) -> int:
        """Return by how many pieces a prompt goes in."""
        return sum(max(self._pieces(strand) for strand in section.strands) for section in reading.sections)

    def _pieces(self, strand: Iterable[Fragment]) -> int:
        return self._tokens(strand)[0].shape[0] // self._frame.length

    def tokens(self, reading: ParsedPrompt) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens of a prompt of one section, of its longest strand, and their mask; each of shape (length)."""
        strands = [self._tokens(strand) for strand in reading.joined().sections[0].strands]
        return max(strands, key=lambda each: int(each[1].sum()))

    def _tokens(self, strand: Iterable[Fragment]) -> tuple[torch.Tensor, torch.Tensor]:
        kept = self._kept(strand)
        found = self._compel.conditioning_provider.get_token_ids_and_expand_weights(
            [each.text for each in kept], [each.weight for each in kept], device=self._layers.device
        )
        return found[0], found[2]

    def encode(self, reading: ParsedPrompt, pieces: int = 1) -> list[torch.Tensor]:
        """Return a prompt's weighted output in each layer, of shape (1, pieces * length, width).

        Args:
            reading: The prompt.
            pieces: By how many pieces the longest prompt of the call goes in; what is shorter is filled up with nothing said.
        """
        sections = reading.sections if self._frame.whole else reading.joined().sections
        parts = [self._section(section) for section in sections]
        found = torch.cat(parts, dim=1)
        if missing := pieces - found.shape[1] // self._frame.length:
            found = torch.cat([found, *[self._compel.conditioning_provider.empty_z.to(found)] * missing], dim=1)
        return [each.contiguous() for each in torch.split(found, self._layers.widths, dim=-1)]

    def _section(self, section: Section) -> torch.Tensor:
        from compel.prompt_parser import Blend, Conjunction, FlattenedPrompt  # noqa: PLC0415 (as above)

        strands = [FlattenedPrompt([(each.text, each.weight) for each in self._kept(one)]) for one in section.strands]
        part = strands[0] if len(strands) == 1 else Blend(strands, section.shares, section.normalised)
        found: torch.Tensor = self._compel.build_conditioning_tensor_for_conjunction(
            Conjunction([part], [section.weight])
        )[0]
        return found

    def _kept(self, strand: Iterable[Fragment]) -> list[Fragment]:
        """Return the fragments that hold a word; Compel looks in vain for those that hold none."""
        numbers = self._compel.conditioning_provider.get_token_ids
        kept = [
            each
            for each in _spaced(strand)
            if each.text.strip() and numbers([each.text], include_start_and_end_markers=False)[0]
        ]
        return kept or [Fragment("")]


def _spaced(strand: Iterable[Fragment]) -> list[Fragment]:
    """Return fragments where a space between two stands before the second, as tokenizers that heed spaces have it."""
    found: list[Fragment] = []
    space = ""
    for each in strand:
        text = space + each.text
        words = text.rstrip()
        space = " " if words != text and (found or words) else ""
        if not found:
            words = words.lstrip()
        if words:
            found.append(Fragment(words, each.weight))
    return found
