"""Hook the tokenizers of a pipeline, to know the prompt of each row of tokens and the text that was truncated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from octabox.engine.worker.prompts.encoder import EncoderAdapter, PromptEncoder, TokenLayout
from octabox.engine.worker.prompts.parsed import ParsedPrompt
from octabox.engine.worker.prompts.text_encoders import (
    ORIGINAL_CLASS,
    QuietTokenizer,
    TextEncoder,
    convert_prompt,
    original_class,
)

#: Number of tokenizer calls that are kept: an encoder runs soon after its tokenizer.
MAX_CALLS = 16

#: Maximum length of the truncated text in a warning.
MAX_SHOWN = 200


@dataclass(frozen=True)
class TokenizedText:
    """A text that a pipeline has tokenized.

    Args:
        text: The text, as the pipeline passed it.
        prompt: The prompt in it; None if there is none.
        has_eos: Whether an end token follows it.
    """

    text: str
    prompt: ParsedPrompt | None
    has_eos: bool = True


@dataclass(frozen=True)
class TokenizerCall:
    """A call of a tokenizer, with its tokens of shape (texts, length)."""

    tokenizer: str
    ids: torch.Tensor
    texts: tuple[TokenizedText, ...]


class TokenizerHooks:
    """Hooks on the tokenizers of one call.

    Args:
        pipe: The pipeline.
        prompts: The prompts of the call; the pipeline is called with their text.
        encoders: The pipeline's text encoders.
        tokenizers: Its tokenizers by component.
        chunked: Components of encoders that take long prompts in chunks, and truncate none.
    """

    def __init__(
        self,
        pipe: Any,
        prompts: Sequence[ParsedPrompt],
        encoders: Sequence[TextEncoder],
        tokenizers: Mapping[str, Any],
        chunked: frozenset[str],
    ) -> None:
        self._pipe, self._encoders, self._tokenizers, self._chunked = pipe, encoders, tokenizers, chunked
        self._prompts = sorted((each for each in prompts if each.text.strip()), key=lambda each: -len(each.text))
        self._calls: list[TokenizerCall] = []
        self.truncated: dict[tuple[str, str], str] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Hook the tokenizers within the context, by a separate class: Python looks up `__call__` in the class."""
        hooked = {id(each): (name, each) for name, each in self._tokenizers.items()}
        for name, tokenizer in hooked.values():
            tokenizer.__class__ = self._hooked_class(name, type(tokenizer))
        try:
            yield
        finally:
            for _, tokenizer in hooked.values():
                tokenizer.__class__ = original_class(tokenizer)

    def _hooked_class(self, name: str, original: Any) -> Any:
        def call(tokenizer: Any, text: Any = None, *args: Any, **options: Any) -> Any:
            result = original.__call__(tokenizer, text, *args, **options)
            return self._on_call(name, tokenizer, text, result, options)

        attributes = {"__call__": call, "__module__": original.__module__, ORIGINAL_CLASS: original}
        return type(original.__name__, (original,), attributes)

    def find_texts(self, encoder: TextEncoder, ids: object) -> tuple[TokenizedText, ...] | None:
        """Return the texts of an encoder's tokens, by the last call of its tokenizer, else by that of another one."""
        if not isinstance(ids, torch.Tensor):
            return None
        on_host = ids.detach().cpu()
        equal = [each for each in reversed(self._calls) if torch.equal(each.ids, on_host)]
        matching = next((each for each in equal if each.tokenizer == encoder.tokenizer), None)
        found = matching or next(iter(equal), None)
        return found.texts if found else None

    def _on_call(self, name: str, tokenizer: Any, text: Any, result: Any, options: Mapping[str, Any]) -> Any:
        """Record the texts of a tokenizer's result, and which of them were truncated."""
        texts = [text] if isinstance(text, str) else text
        if not isinstance(texts, list | tuple) or not all(isinstance(each, str) for each in texts):
            return result
        ids = _to_rectangle(result)
        if ids is None or len(ids) != len(texts):
            return result
        found = [
            replace(self._find_prompt(tokenizer, each), has_eos=_has_eos(tokenizer, row))
            for each, row in zip(texts, ids, strict=True)
        ]
        encoder = next((each for each in self._encoders if each.tokenizer == name), None)
        if options.get("truncation"):
            for each in found:
                self._record_truncated(encoder.name if encoder else name, tokenizer, each, ids.shape[-1], options)
        if encoder is not None and encoder.kind == "sequence" and isinstance(result["input_ids"], torch.Tensor):
            ids = _tokenize_weighted(tokenizer, found, ids, result)
        self._calls = [*self._calls[-MAX_CALLS:], TokenizerCall(name, ids.detach().cpu().clone(), tuple(found))]
        return result

    def _find_prompt(self, tokenizer: Any, text: str) -> TokenizedText:
        """Return a text with the prompt in it, around which a pipeline may have put a template."""
        for exact in (True, False):
            for prompt in self._prompts:
                words = convert_prompt(self._pipe, tokenizer, prompt.text).split()
                pattern = r"\s+".join(map(re.escape, words))
                found = re.search(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE)
                if not found or (exact and found[0] != text.strip()):
                    continue
                lower = found[0].split() != words and found[0] == found[0].lower()

                def convert(part: str, lower: bool = lower) -> str:
                    return convert_prompt(self._pipe, tokenizer, part.lower() if lower else part)

                return TokenizedText(text, prompt.with_context(text[: found.start()], text[found.end() :], convert))
        return TokenizedText(text, None)

    def _record_truncated(
        self, encoder: str, tokenizer: Any, text: TokenizedText, length: int, options: Mapping[str, Any]
    ) -> None:
        """Record the part of a prompt that a tokenizer has truncated."""
        if text.prompt is None or encoder in self._chunked:
            return
        specials = options.get("add_special_tokens", True)
        full = QuietTokenizer(tokenizer, has_bos=True)(text.text, add_special_tokens=specials)["input_ids"]
        if len(full) > length:
            rest = tokenizer.decode(full[length - int(text.has_eos) :], skip_special_tokens=True).strip()
            shown = rest if len(rest) <= MAX_SHOWN else f"{rest[:MAX_SHOWN]} ..."
            self.truncated[text.prompt.parameter, encoder] = shown


def _tokenize_weighted(tokenizer: Any, texts: Sequence[TokenizedText], ids: torch.Tensor, result: Any) -> torch.Tensor:
    """Replace the tokens of weighted prompts by those that Compel makes of them, which may be one more or less."""
    mask = result.get("attention_mask")
    for index, text in enumerate(texts):
        if text.prompt is None or not text.prompt.is_weighted:
            continue
        layout = token_layout(text, ids.shape[-1], chunked=False, masked=True)
        encoder = PromptEncoder(tokenizer_for(tokenizer, ids[index]), EncoderAdapter(lambda *_: [], ids), layout)
        result["input_ids"][index], weighted_mask = encoder.tokenize(text.prompt)
        if isinstance(mask, torch.Tensor):
            mask[index] = weighted_mask
    return torch.as_tensor(result["input_ids"])


def token_layout(text: TokenizedText, length: int, *, chunked: bool, masked: bool) -> TokenLayout:
    """Return how an encoder takes the tokens of a text."""
    return TokenLayout(length, chunked, text.has_eos, 0 if masked else 1)


def tokenizer_for(tokenizer: Any, ids: torch.Tensor) -> QuietTokenizer:
    """Return a tokenizer for Compel, with a begin token if these tokens have one."""
    return QuietTokenizer(tokenizer, has_bos=int(ids[0]) == tokenizer.bos_token_id)


def _to_rectangle(result: Any) -> torch.Tensor | None:
    """Return a tokenizer's tokens as a tensor of shape (texts, length); None if their lengths differ."""
    found = result.get("input_ids") if hasattr(result, "get") else None
    if isinstance(found, torch.Tensor):
        return found if found.ndim == 2 else None  # noqa: PLR2004 (texts and tokens)
    try:
        ids = torch.as_tensor(found)
    except (TypeError, ValueError):
        return None
    return ids if ids.ndim == 2 and ids.numel() else None  # noqa: PLR2004 (as above)


def _has_eos(tokenizer: Any, ids: torch.Tensor) -> bool:
    """Return whether an end token follows the text."""
    text = ids[ids != tokenizer.pad_token_id] if tokenizer.pad_token_id != tokenizer.eos_token_id else ids
    return bool(len(text)) and int(text[-1]) == tokenizer.eos_token_id
