"""Hook a pipeline's tokenizers and text encoders for one call: weights, long prompts, cached prompts.

A pipeline is called with the text of its prompts, and processes it as usual. Only the output of an encoder is replaced, for the
tokens of a weighted or long prompt by that of Compel; how the pipeline uses it, such as which layer, is unchanged. Any other
prompt is encoded without hooks on the tokenizers, and by the encoder's own forward pass unless its output may be cached.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from octabox.catalog.entries import PipelineEntry
from octabox.engine.replacement import replaced
from octabox.engine.worker.prompts.embed_cache import CallCache, PromptEmbedCache, cached_forward
from octabox.engine.worker.prompts.encoder_hooks import EncoderHooks
from octabox.engine.worker.prompts.parsed import ParsedPrompt, parse_plain
from octabox.engine.worker.prompts.text_encoders import (
    TextEncoder,
    convert_prompt,
    count_tokens,
    find_text_encoders,
    find_tokenizers,
)
from octabox.engine.worker.prompts.weighted_encoding import find_final_norm
from octabox.errors import InvalidParameterError

#: The call parameter for an encoded prompt, whose presence means that a pipeline takes any number of tokens.
EMBEDDINGS = "prompt_embeds"

#: The call parameters that leave out layers, and that limit the tokens of encoders without a fixed context length.
CLIP_SKIP, SEQUENCE_LENGTH = "clip_skip", "max_sequence_length"

#: The shortest limit of pipelines that have no such parameter.
SHORTEST_LIMIT = 77

#: Where pipelines look for the final norm of a CLIP model; in transformers 5 it is in the model itself.
TEXT_MODEL = "text_model"

#: The libraries' warnings about truncation, which do not know of chunks.
TRUNCATION_WARNINGS = ("The following part of your input was truncated", "Token indices sequence length is longer")


class PromptHooks:
    """Hooks for the prompts of one call.

    Args:
        pipe: The pipeline.
        entry: Its catalog entry.
        prompts: The prompts of the call by parameter.
        cache: The encoder outputs of earlier calls of the model.
        adapters: A key for the applied LoRAs.
        params: The parameters of the call.

    Raises:
        InvalidParameterError: A prompt is too long, or ``clip_skip`` is out of range.
    """

    def __init__(
        self,
        pipe: Any,
        entry: PipelineEntry,
        prompts: Mapping[str, ParsedPrompt],
        cache: PromptEmbedCache,
        adapters: Hashable = (),
        params: Mapping[str, Any] | None = None,
    ) -> None:
        params = params or {}
        self._clip_skip = params.get(CLIP_SKIP)
        self._encoders, tokenizers = find_text_encoders(pipe), find_tokenizers(pipe)
        _check_clip_skip(self._clip_skip, self._encoders)
        self._prompts, self._warnings = _resolve_equal_texts(prompts.values())
        # Prompts that are not texts share a name.
        texts = frozenset(each.text for each in self._prompts if each.text) or frozenset({""})
        self._cache = CallCache(cache, texts, adapters)
        limit = _sequence_limit(entry, params)
        self._hooks: EncoderHooks | None = None
        if any(each.is_weighted or _may_be_long(pipe, each, self._encoders, limit) for each in self._prompts):
            takes_embeddings = entry.parameter(EMBEDDINGS) is not None
            chunked = frozenset(each.name for each in self._encoders if each.kind == "clip" and takes_embeddings)
            self._hooks = EncoderHooks(
                pipe,
                self._prompts,
                self._encoders,
                tokenizers,
                chunked,
                self._cache,
                normed=self._clip_skip is not None,
            )

    @property
    def is_plain(self) -> bool:
        """Whether the pipeline encodes the prompts itself: none is weighted or may be long."""
        return self._hooks is None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Install the hooks that the prompts need within the context."""
        with ExitStack() as stack:
            if self._hooks is not None:
                stack.enter_context(self._hooks.installed())
            elif self._cache.may_hit():
                for encoder in self._encoders:
                    stack.enter_context(replaced(encoder.module, "forward", cached_forward(encoder, self._cache)))
            else:
                for encoder in self._encoders:
                    hook = encoder.module.register_forward_hook(_record_in(self._cache, encoder), with_kwargs=True)
                    stack.callback(hook.remove)
            if self._clip_skip is not None:
                for encoder in self._encoders:
                    if find_final_norm(encoder) is not None:
                        stack.enter_context(_with_text_model(encoder.module))
            yield

    def add_warnings(self, messages: list[str]) -> None:
        """Add the warnings of the call to those of the libraries; with hooks, they replace theirs about truncation."""
        for prompt in self._prompts:
            messages.extend(prompt.warnings)
        messages.extend(self._warnings)
        if self._hooks is not None:
            messages[:] = [each for each in messages if not each.startswith(TRUNCATION_WARNINGS)]
            messages.extend(self._hooks.warnings())


def _record_in(cache: CallCache, encoder: TextEncoder) -> Callable[..., None]:
    """Return a forward hook of torch that stores an encoder's outputs."""

    def record(_: torch.nn.Module, args: tuple[Any, ...], options: dict[str, Any], output: Any) -> None:
        cache.put(cache.key(encoder, args, options), output)

    return record


def _sequence_limit(entry: PipelineEntry, params: Mapping[str, Any]) -> int:
    """Return the number of tokens that a call allows for encoders without a fixed context length."""
    parameter = entry.parameter(SEQUENCE_LENGTH)
    limit = params.get(SEQUENCE_LENGTH) or (parameter.default if parameter is not None else None)
    return limit if isinstance(limit, int) else SHORTEST_LIMIT


def _may_be_long(pipe: Any, prompt: ParsedPrompt, encoders: Sequence[TextEncoder], limit: int) -> bool:
    """Return whether a prompt may be longer than an encoder takes.

    Without a fixed context length, half of the limit is left for the templates of pipelines.
    """
    for name, tokenizer in find_tokenizers(pipe).items():
        tokens = count_tokens(tokenizer, convert_prompt(pipe, tokenizer, prompt.text))
        fixed = next((each.max_length for each in encoders if each.tokenizer == name), 0)
        if tokens > (fixed or min(limit, int(tokenizer.model_max_length)) // 2):
            return True
    return False


@contextmanager
def _with_text_model(module: torch.nn.Module) -> Iterator[None]:
    """Let pipelines find the layers of a CLIP model by the attribute of older versions of transformers."""
    if hasattr(module, TEXT_MODEL):
        yield
        return
    # Not by torch, which would recurse into a module that contains itself.
    object.__setattr__(module, TEXT_MODEL, module)
    try:
        yield
    finally:
        object.__delattr__(module, TEXT_MODEL)


def _resolve_equal_texts(prompts: Iterable[ParsedPrompt]) -> tuple[list[ParsedPrompt], list[str]]:
    """Return the prompts, with warnings; those with the same text and other weights lose them, since their tokens are equal."""
    found, warnings = list(prompts), []
    for index, one in enumerate(found):
        equal = [each for each in found if each.text == one.text and each.sections != one.sections]
        if equal and one.is_weighted:
            found[index] = parse_plain(one.text, one.parameter)
            warnings.append(
                f"The weights in '{one.parameter}' have no effect: '{equal[0].parameter}' has the same text."
            )
    return found, warnings


def _check_clip_skip(clip_skip: int | None, encoders: Sequence[TextEncoder]) -> None:
    """Check that the encoders have more layers than are skipped.

    Raises:
        InvalidParameterError: They have fewer.
    """
    layers = min((each.num_layers for each in encoders if each.kind == "clip" and each.num_layers), default=0)
    if clip_skip is not None and layers and not 0 <= clip_skip < layers:
        raise InvalidParameterError(
            f"'clip_skip' must be from 0 to {layers - 1}, not {clip_skip}.",
            hint="It is the number of the text encoder's last layers to skip.",
            parameter=CLIP_SKIP,
        )
