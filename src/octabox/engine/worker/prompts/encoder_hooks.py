"""Hook the text encoders of a pipeline, so that weighted and long prompts are encoded by Compel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch

from octabox.engine.replacement import replaced
from octabox.engine.worker.prompts.embed_cache import CallCache, cached_forward
from octabox.engine.worker.prompts.encoder import EncoderAdapter, PromptEncoder, TokenLayout
from octabox.engine.worker.prompts.encoder_output import HIDDEN, stack_outputs, track_access
from octabox.engine.worker.prompts.parsed import ParsedPrompt
from octabox.engine.worker.prompts.text_encoders import QuietTokenizer, TextEncoder, convert_prompt, count_tokens
from octabox.engine.worker.prompts.tokenizer import TokenizedText, TokenizerHooks
from octabox.engine.worker.prompts.weighted_encoding import EncodeJob, find_final_norm
from octabox.errors import InvalidParameterError

#: Number of special tokens of a chunk: begin and end.
SPECIAL_TOKENS = 2

#: Maximum number of chunks of a prompt.
MAX_CHUNKS = 32


class EncoderHooks:
    """Hooks on the text encoders of one call with a weighted or long prompt.

    Args:
        pipe: The pipeline.
        prompts: The prompts of the call.
        encoders: The pipeline's text encoders.
        tokenizers: Its tokenizers by component.
        chunked: Components of encoders that take long prompts in chunks.
        cache: The cache of encoder outputs.
        normed: Whether the pipeline applies the final norm to an earlier layer.

    Raises:
        InvalidParameterError: A prompt is too long.
    """

    def __init__(
        self,
        pipe: Any,
        prompts: Sequence[ParsedPrompt],
        encoders: Sequence[TextEncoder],
        tokenizers: Mapping[str, Any],
        chunked: frozenset[str],
        cache: CallCache,
        *,
        normed: bool,
    ) -> None:
        self._pipe, self._prompts, self._encoders, self._tokenizers = pipe, prompts, encoders, tokenizers
        self._chunked, self._cache, self._normed = chunked, cache, normed
        self._tokenizer_hooks = TokenizerHooks(pipe, prompts, encoders, tokenizers, chunked)
        long_encoders = [each for each in encoders if each.name in chunked]
        self._chunks = max(
            (count_chunks(pipe, each, tokenizers, prompt) for each in long_encoders for prompt in prompts), default=1
        )
        self._weighted: set[str] = set()
        self._unweighted: dict[str, str] = {}
        self._pooled: dict[tuple[str, str], int] = {}
        self._norms: list[tuple[torch.Tensor, torch.Tensor]] = []

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Hook the tokenizers and encoders within the context."""
        with ExitStack() as stack:
            stack.enter_context(self._tokenizer_hooks.installed())
            for encoder in self._encoders:
                stack.enter_context(replaced(encoder.module, "forward", self._forward(encoder)))
                if self._normed and (norm := find_final_norm(encoder)) is not None:
                    stack.enter_context(replaced(norm, "forward", self._norm_forward(norm.forward)))
            yield

    def warnings(self) -> list[str]:
        """Return a warning for each prompt and encoder that has truncated it or ignored its weights."""
        found = [
            f"'{parameter}' is longer than '{encoder}' takes; it did not read: {rest}"
            for (parameter, encoder), rest in self._tokenizer_hooks.truncated.items()
        ]
        found += [
            f"'{parameter}' is longer than '{encoder}' takes, which encodes only its first {tokens} tokens."
            for (parameter, encoder), tokens in self._pooled.items()
        ]
        for prompt in self._prompts:
            name = prompt.parameter
            if prompt.is_weighted and name not in self._weighted:
                found.append(f"The weights in '{name}' have no effect on this model; the prompt was used without them.")
            elif name in self._unweighted:
                found.append(f"'{self._unweighted[name]}' encoded '{name}' without its weights.")
        return found

    def _forward(self, encoder: TextEncoder) -> Callable[..., Any]:
        """Return the forward pass of a hooked encoder."""
        original = encoder.module.forward
        cached = cached_forward(encoder, self._cache)

        # It keeps its signature, which transformers inspects before it generates.
        @wraps(original)
        def forward(*args: Any, **options: Any) -> Any:
            texts = self._tokenizer_hooks.find_texts(encoder, args[0] if args else options.get("input_ids"))
            if texts is not None and self._is_special(encoder, texts):
                return self._encode(encoder, original, texts, *args, **options)
            return cached(*args, **options)

        return forward

    def _is_special(self, encoder: TextEncoder, texts: Sequence[TokenizedText]) -> bool:
        """Return whether texts are to be encoded by Compel."""
        weighted = _weighted_parameters(texts)
        if weighted and not encoder.kind:
            self._unweighted |= dict.fromkeys(weighted, encoder.name)
        is_long = encoder.name in self._chunked and self._chunks > 1
        return bool(encoder.kind) and (bool(weighted) or is_long)

    def _encode(
        self,
        encoder: TextEncoder,
        forward: Callable[..., Any],
        texts: Sequence[TokenizedText],
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **options: Any,
    ) -> Any:
        """Return an encoder's output for weighted or long texts."""
        chunked = encoder.name in self._chunked
        chunks = self._chunks if chunked else 1
        as_tuple = options.pop("return_dict", None) is False
        encoded = []
        for index, text in enumerate(texts):
            mask = None if attention_mask is None else attention_mask[index : index + 1]
            job = EncodeJob(encoder, forward, text, input_ids[index : index + 1], mask, options, self._normed)
            arguments = (job.ids, mask, options, chunks, chunked, self._normed)
            key = self._cache.key(encoder, *arguments, text=text)
            found = self._cache.find(key)
            if found is None:
                found = job.encode(self._tokenizers[encoder.tokenizer], chunks, chunked=chunked)
                self._cache.put(key, found)
            encoded.append(found)
        output, normed = stack_outputs(encoded)
        self._norms += zip(output.get(HIDDEN) or (), normed, strict=False)
        return self._track(encoder, texts, output, as_tuple=as_tuple)

    def _track(self, encoder: TextEncoder, texts: Sequence[TokenizedText], output: Any, *, as_tuple: bool) -> Any:
        """Return an output that records, when a layer of it is read, that weights and all chunks are used.

        The pooled embedding of a long prompt holds only the first chunk.
        """
        weighted = _weighted_parameters(texts)
        prompts = [text.prompt for text in texts if text.prompt is not None and encoder.name in self._chunked]

        def on_read() -> None:
            self._weighted.update(weighted)
            for prompt in prompts:
                self._pooled.pop((prompt.parameter, encoder.name), None)

        for prompt in prompts:
            if count_tokens(self._tokenizers[encoder.tokenizer], prompt.text) > encoder.max_length:
                self._pooled[prompt.parameter, encoder.name] = encoder.max_length - SPECIAL_TOKENS
        if as_tuple:
            on_read()
            return output.to_tuple()
        return track_access(output, on_read)

    def _norm_forward(self, original: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the forward pass of a hooked final norm, which would undo weights that are applied before it."""

        def forward(states: torch.Tensor) -> torch.Tensor:
            found = next((normed for layer, normed in self._norms if layer is states), None)
            return original(states) if found is None else found

        return forward


def count_chunks(pipe: Any, encoder: TextEncoder, tokenizers: Mapping[str, Any], prompt: ParsedPrompt) -> int:
    """Return the number of chunks in which a CLIP encoder takes a prompt.

    Raises:
        InvalidParameterError: The prompt is too long.
    """
    tokenizer = tokenizers[encoder.tokenizer]
    prompt = prompt.with_context("", "", lambda text: convert_prompt(pipe, tokenizer, text))
    tokens = count_tokens(tokenizer, prompt.text)
    if tokens <= encoder.max_length and not prompt.is_weighted:
        return 1
    limit = encoder.max_length * MAX_CHUNKS
    if tokens > limit:
        raise InvalidParameterError(
            f"'{prompt.parameter}' has {tokens} tokens; at most {limit} are allowed.", parameter=prompt.parameter
        )
    counter = PromptEncoder(
        QuietTokenizer(tokenizer, has_bos=True),
        EncoderAdapter(lambda *_: [], torch.empty(0)),
        TokenLayout(encoder.max_length, chunked=True),
    )
    return counter.count_chunks(prompt)


def _weighted_parameters(texts: Sequence[TokenizedText]) -> list[str]:
    """Return the parameters of the weighted prompts among texts."""
    return [text.prompt.parameter for text in texts if text.prompt is not None and text.prompt.is_weighted]
