"""Watch a pipeline's tokenizers: which tokens stand for which prompt, and which words found no room."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from octabox.engine.worker.prompts.encoder import EncoderAdapter, PromptEncoder, TokenLayout
from octabox.engine.worker.prompts.encoders import TextEncoder, tokenizers
from octabox.engine.worker.prompts.parsed import ParsedPrompt

#: How many calls of tokenizers are kept in mind: an encoder runs soon after its tokenizer.
RECENT = 16

#: Longest part of lost words that a warning shows.
SHOWN = 200


@dataclass(frozen=True)
class Row:
    """A text that was made tokens of.

    Args:
        text: The text, as the pipeline gave it.
        reading: The prompt in it; None where there is none.
        ends: Whether a mark ends its tokens.
    """

    text: str
    reading: ParsedPrompt | None
    ends: bool = True


@dataclass(frozen=True)
class Tokenized:
    """One call of a tokenizer, and the tokens that came of it, of shape (texts, length)."""

    tokenizer: str
    ids: torch.Tensor
    rows: tuple[Row, ...]


class Tokens:
    """A tokenizer as Compel sees it: not watched, silent, and with a mark of begin only where the pipeline has one."""

    def __init__(self, tokenizer: Any, *, begins: bool) -> None:
        self._tokenizer, self._call = tokenizer, _own_class(tokenizer).__call__
        self.bos_token_id = tokenizer.bos_token_id if begins else None

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Return the tokens of texts."""
        return self._call(self._tokenizer, *args, verbose=False, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def _own_class(tokenizer: Any) -> Any:
    """Return a tokenizer's class, whether or not it is watched."""
    return getattr(type(tokenizer), "octabox_watches", type(tokenizer))


class Tokenizing:
    """Watches the tokenizers of one call.

    Args:
        pipe: The pipeline.
        readings: The prompts of the call; each goes in as its plain words.
        encoders: The pipeline's text encoders.
        by_pieces: Components of encoders that take long words by pieces, and lose none.
    """

    def __init__(
        self, pipe: Any, readings: Sequence[ParsedPrompt], encoders: Sequence[TextEncoder], by_pieces: frozenset[str]
    ) -> None:
        self._pipe, self._encoders, self._by_pieces = pipe, encoders, by_pieces
        self._readings = [each for each in readings if each.plain.strip()]
        self._tokenizers = tokenizers(pipe)
        self._recent: list[Tokenized] = []
        self.lost: dict[tuple[str, str], str] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watch while this lasts. A tokenizer is called by its class, so that it gets one of its own for that time."""
        watched = {id(each): (name, each) for name, each in self._tokenizers.items()}
        for name, tokenizer in watched.values():
            tokenizer.__class__ = self._watching(name, type(tokenizer))
        try:
            yield
        finally:
            for _, tokenizer in watched.values():
                tokenizer.__class__ = _own_class(tokenizer)

    def _watching(self, name: str, own: Any) -> Any:
        def call(tokenizer: Any, text: Any = None, *args: Any, **options: Any) -> Any:
            return self._seen(name, tokenizer, text, own.__call__(tokenizer, text, *args, **options), options)

        return type(own.__name__, (own,), {"__call__": call, "__module__": own.__module__, "octabox_watches": own})

    def rows(self, encoder: TextEncoder, ids: object) -> tuple[Row, ...] | None:
        """Return the texts that an encoder's tokens stand for: of its own tokenizer's last call, else of any other's."""
        if not isinstance(ids, torch.Tensor):
            return None
        given = ids.detach().cpu()
        alike = [each for each in reversed(self._recent) if torch.equal(each.ids, given)]
        own = next((each for each in alike if each.tokenizer == encoder.tokenizer), None)
        found = own or next(iter(alike), None)
        return found.rows if found else None

    def _seen(self, name: str, tokenizer: Any, text: Any, result: Any, options: Mapping[str, Any]) -> Any:
        """Note which texts a tokenizer's result stands for, and which of their words it lacks."""
        texts = [text] if isinstance(text, str) else text
        if not isinstance(texts, list | tuple) or not all(isinstance(each, str) for each in texts):
            return result
        ids = _rectangle(result)
        if ids is None or len(ids) != len(texts):
            return result
        rows = [self._row(tokenizer, each) for each in texts]
        rows = [replace(row, ends=_ends(tokenizer, one)) for row, one in zip(rows, ids, strict=True)]
        encoder = next((each for each in self._encoders if each.tokenizer == name), None)
        if options.get("truncation"):
            for row in rows:
                self._note_lost(encoder.name if encoder else name, tokenizer, row, ids.shape[-1], options)
        if encoder is not None and encoder.kind == "sequence" and isinstance(result["input_ids"], torch.Tensor):
            ids = self._weighed(tokenizer, rows, ids, result)
        self._recent = [*self._recent[-RECENT:], Tokenized(name, ids.detach().cpu().clone(), tuple(rows))]
        return result

    def converted(self, tokenizer: Any, text: str) -> str:
        """Return words with those that stand for several written out, as pipelines do before they make tokens of them."""
        convert = getattr(self._pipe, "maybe_convert_prompt", None)
        return str(convert(text, tokenizer)) if convert else text

    def _row(self, tokenizer: Any, text: str) -> Row:
        """Return which prompt a text holds, with whatever a pipeline has put around it."""
        by_length = sorted(self._readings, key=lambda each: -len(each.plain))
        for exact in (True, False):
            for reading in by_length:
                words = self.converted(tokenizer, reading.plain).split()
                pattern = r"\s+".join(map(re.escape, words))
                found = re.search(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE)
                if not found or (exact and found[0] != text.strip()):
                    continue
                lower = found[0].split() != words and found[0] == found[0].lower()

                def change(part: str, lower: bool = lower) -> str:
                    return self.converted(tokenizer, part.lower() if lower else part)

                return Row(text, reading.within(text[: found.start()], text[found.end() :], change))
        return Row(text, None)

    def _note_lost(self, encoder: str, tokenizer: Any, row: Row, room: int, options: Mapping[str, Any]) -> None:
        """Note the words of a prompt that found no room."""
        if row.reading is None or encoder in self._by_pieces:
            return
        specials = options.get("add_special_tokens", True)
        full = Tokens(tokenizer, begins=True)(row.text, add_special_tokens=specials)["input_ids"]
        if len(full) > room:
            words = tokenizer.decode(full[room - int(row.ends) :], skip_special_tokens=True).strip()
            self.lost[row.reading.parameter, encoder] = words if len(words) <= SHOWN else f"{words[:SHOWN]} ..."

    def _weighed(self, tokenizer: Any, rows: Sequence[Row], ids: torch.Tensor, result: Any) -> torch.Tensor:
        """Put the tokens that Compel makes of a weighted prompt in place of the tokenizer's, which may be one more or less."""
        mask = result.get("attention_mask")
        for index, row in enumerate(rows):
            if row.reading is None or not row.reading.is_weighted:
                continue
            frame = frame_of(row, ids.shape[-1], whole=False, masked=True)
            weigher = PromptEncoder(tokens_of(tokenizer, ids[index]), EncoderAdapter(lambda *_: [], ids), frame)
            own, own_mask = weigher.tokens(row.reading)
            result["input_ids"][index] = own
            if isinstance(mask, torch.Tensor):
                mask[index] = own_mask
        return torch.as_tensor(result["input_ids"])


def frame_of(row: Row, length: int, *, whole: bool, masked: bool) -> TokenLayout:
    """Return how a text's tokens go into an encoder."""
    return TokenLayout(length, whole, row.ends, 0 if masked else 1)


def tokens_of(tokenizer: Any, ids: torch.Tensor) -> Tokens:
    """Return a tokenizer for Compel that begins as these tokens do."""
    return Tokens(tokenizer, begins=int(ids[0]) == tokenizer.bos_token_id)


def _rectangle(result: Any) -> torch.Tensor | None:
    """Return a tokenizer's tokens as a tensor of shape (texts, length); None where they are of several lengths."""
    found = result.get("input_ids") if hasattr(result, "get") else None
    if isinstance(found, torch.Tensor):
        return found if found.ndim == 2 else None  # noqa: PLR2004 (texts and tokens)
    try:
        made = torch.as_tensor(found)
    except (TypeError, ValueError):
        return None
    return made if made.ndim == 2 and made.numel() else None  # noqa: PLR2004 (as above)


def _ends(tokenizer: Any, ids: torch.Tensor) -> bool:
    """Return whether a mark stands behind the last word."""
    words = ids[ids != tokenizer.pad_token_id] if tokenizer.pad_token_id != tokenizer.eos_token_id else ids
    return bool(len(words)) and int(words[-1]) == tokenizer.eos_token_id
