"""Watch how a pipeline reads its prompts: weigh their words, take them whole where they are long, remember what came of them.

A pipeline is given the plain words, and does what it always does: it calls its tokenizers, and its encoders on the tokens.
While a watch is installed, an encoder's answer for the tokens of a weighted or long prompt is the one that Compel makes of it;
all that the pipeline does with that answer (which layer it takes, what it puts side by side) stays its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any

import torch

from octabox.catalog.entries import PipelineEntry
from octabox.engine.worker.prompts.embed_cache import PromptEmbedCache, key_of, state_of
from octabox.engine.worker.prompts.encoder import EncoderAdapter, PromptEncoder, TokenLayout
from octabox.engine.worker.prompts.encoders import TextEncoder, text_encoders, tokenizers
from octabox.engine.worker.prompts.encoding import Job, last_norm
from octabox.engine.worker.prompts.layers import HIDDEN, stacked, track_access
from octabox.engine.worker.prompts.parsed import ParsedPrompt, plain
from octabox.engine.worker.prompts.tokenizer import Row, Tokenizing, Tokens
from octabox.errors import InvalidParameterError

#: The call parameter by which a caller may hand over a prompt that is encoded already, of whatever length.
EMBEDDINGS = "prompt_embeds"
#: Tokens of a piece that are marks of its begin and end.
MARKS = 2

#: Where pipelines look for the last norm of a CLIP; transformers 5 has it in the model itself.
OLDER_NAME = "text_model"

#: By how many pieces a prompt may go into an encoder.
MOST_PIECES = 32

#: How warnings of the libraries begin that say what ours say better.
LIBRARIES_OWN = ("The following part of your input was truncated", "Token indices sequence length is longer")


class PromptHooks:
    """Watches one call of a pipeline.

    Args:
        pipe: The pipeline.
        entry: What the catalog knows of it.
        readings: The prompts of the call.
        memory: What is remembered of earlier calls of the model.
        adapters: What tells the adapters that are applied from others.
        clip_skip: How many of an encoder's last layers are left out.

    Raises:
        InvalidParameterError: A prompt is too long, or fewer layers are there than are to be left out.
    """

    def __init__(
        self,
        pipe: Any,
        entry: PipelineEntry,
        readings: Mapping[str, ParsedPrompt],
        memory: PromptEmbedCache,
        adapters: Hashable = (),
        clip_skip: int | None = None,
    ) -> None:
        self._memory, self._adapters, self._normed = memory, adapters, clip_skip is not None
        self._encoders = text_encoders(pipe)
        _check_skip(clip_skip, self._encoders)
        self._tokenizers = tokenizers(pipe)
        self._readings, self._said = _distinct(readings.values())
        whole = entry.parameter(EMBEDDINGS) is not None
        self._whole = frozenset(each.name for each in self._encoders if each.kind == "clip" and whole)
        self._tokenizing = Tokenizing(pipe, self._readings, self._encoders, self._whole)
        self._pieces = self._count()
        self._weighed: set[str] = set()
        self._unweighed: dict[str, str] = {}
        self._unread: dict[tuple[str, str], int] = {}
        self._norms: list[tuple[torch.Tensor, torch.Tensor]] = []

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Watch while this lasts."""
        with ExitStack() as stack:
            stack.enter_context(self._tokenizing.installed())
            for encoder in self._encoders:
                stack.enter_context(_replaced(encoder.module, self._forward(encoder)))
                norm = last_norm(encoder) if self._normed else None
                if norm is not None:
                    stack.enter_context(_replaced(norm, self._norm(norm.forward)))
                    stack.enter_context(_within_itself(encoder.module))
            yield

    def warnings(self) -> list[str]:
        """Return what the encoders did not take in, one sentence for each prompt and encoder."""
        said = [warning for each in self._readings for warning in each.warnings] + self._said
        for (parameter, encoder), words in self._tokenizing.lost.items():
            said.append(f"'{parameter}' is longer than '{encoder}' takes; it did not read: {words}")
        for (parameter, encoder), tokens in self._unread.items():
            said.append(
                f"'{parameter}' is longer than '{encoder}' takes, which sums it up from its first {tokens} tokens."
            )
        for reading in self._readings:
            if reading.is_weighted and reading.parameter not in self._weighed:
                said.append(
                    f"The weights in '{reading.parameter}' have no effect on this model; its plain words were used."
                )
            elif reading.parameter in self._unweighed:
                said.append(f"'{self._unweighed[reading.parameter]}' read '{reading.parameter}' without its weights.")
        return said

    def _count(self) -> int:
        """Return by how many pieces the longest prompt goes in, which all others are filled up to."""
        most = 1
        for encoder in self._encoders:
            for reading in self._readings if encoder.name in self._whole else ():
                most = max(most, self._pieces_of(encoder, reading))
        return most

    def _pieces_of(self, encoder: TextEncoder, reading: ParsedPrompt) -> int:
        tokenizer = self._tokenizers[encoder.tokenizer]
        ids = Tokens(tokenizer, begins=True)(reading.plain)["input_ids"]
        if len(ids) <= encoder.places and not reading.is_weighted:
            return 1
        if len(ids) > encoder.places * MOST_PIECES:
            raise InvalidParameterError(
                f"'{reading.parameter}' has {len(ids)} tokens, and {encoder.places * MOST_PIECES} are the most that are taken.",
                parameter=reading.parameter,
            )
        here = EncoderAdapter(lambda *_: [], torch.empty(0))
        return PromptEncoder(Tokens(tokenizer, begins=True), here, TokenLayout(encoder.places, whole=True)).pieces(
            reading
        )

    def _forward(self, encoder: TextEncoder) -> Callable[..., Any]:
        """Return what stands in for an encoder's forward pass."""
        own = encoder.module.forward

        # Whoever looks at its signature, as transformers does before it generates, sees that of the encoder.
        @wraps(own)
        def forward(*args: Any, **options: Any) -> Any:
            ids = args[0] if args else options.get("input_ids")
            rows = self._tokenizing.rows(encoder, ids)
            if rows is not None and self._is_special(encoder, rows):
                return self._special(encoder, own, rows, *args, **options)
            return self._plain(encoder, lambda: own(*args, **options), (args, options))

        return forward

    def _is_special(self, encoder: TextEncoder, rows: Sequence[Row]) -> bool:
        """Return whether texts are more to an encoder than the tokens that it is called with."""
        weighted = [row.reading.parameter for row in rows if row.reading is not None and row.reading.is_weighted]
        if weighted and not encoder.kind:
            self._unweighed |= dict.fromkeys(weighted, encoder.name)
        return bool(encoder.kind) and (bool(weighted) or (encoder.name in self._whole and self._pieces > 1))

    def _plain(self, encoder: TextEncoder, make: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        """Return an encoder's own output, remembered where it depends on nothing but what it is given."""
        try:
            key = key_of(given)
        except TypeError:
            return make()
        if torch.is_grad_enabled():
            return make()
        return self._memory.get((encoder.name, self._state(encoder), key), make)

    def _state(self, encoder: TextEncoder) -> Hashable:
        return self._adapters, state_of(encoder.module)

    def _special(
        self,
        encoder: TextEncoder,
        own: Callable[..., Any],
        rows: Sequence[Row],
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **options: Any,
    ) -> Any:
        """Return an encoder's output for weighted or long texts."""
        made = []
        in_tuple = options.pop("return_dict", None) is False
        for index, row in enumerate(rows):
            mask = None if attention_mask is None else attention_mask[index : index + 1]
            job = Job(encoder, own, row, input_ids[index : index + 1], mask, options, self._normed)
            pieces, whole = (self._pieces, True) if encoder.name in self._whole else (1, False)
            key = (
                encoder.name,
                self._state(encoder),
                row,
                pieces,
                whole,
                key_of((job.ids, mask, options)),
                self._normed,
            )
            make = partial(job.encode, self._tokenizers[encoder.tokenizer], pieces, whole=whole)
            made.append(self._memory.get(key, make))
        output, normed = stacked(made)
        self._norms += zip(output.get(HIDDEN) or (), normed, strict=False)
        parameters = [row.reading.parameter for row in rows if row.reading is not None and row.reading.is_weighted]
        long = [row.reading.parameter for row in rows if row.reading is not None and encoder.name in self._whole]

        def on_read() -> None:
            self._weighed.update(parameters)
            for parameter in long:
                self._unread.pop((parameter, encoder.name), None)

        # Of a long prompt, what sums it up holds only the first piece.
        self._unread |= {(each, encoder.name): encoder.places - MARKS for each in long if self._is_long(encoder, each)}
        if in_tuple:
            on_read()
            return output.to_tuple()
        return track_access(output, on_read)

    def _norm(self, own: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return what stands in for an encoder's last norm: of a layer that was weighed, the norm was weighed too.

        Weights before the norm would be lost in it.
        """

        def forward(states: torch.Tensor) -> torch.Tensor:
            found = next((normed for layer, normed in self._norms if layer is states), None)
            return own(states) if found is None else found

        return forward

    def _is_long(self, encoder: TextEncoder, parameter: str) -> bool:
        """Return whether a prompt has more tokens than an encoder takes at once."""
        reading = next(each for each in self._readings if each.parameter == parameter)
        tokenizer = self._tokenizers[encoder.tokenizer]
        return len(Tokens(tokenizer, begins=True)(reading.plain)["input_ids"]) > encoder.places


def untruncated(said: Iterable[str]) -> list[str]:
    """Return what the libraries said, less what they think was cut: a watch says what really was."""
    return [each for each in said if not each.startswith(LIBRARIES_OWN)]


@contextmanager
def _replaced(module: torch.nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let a module run by another forward pass while this lasts."""
    before = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


@contextmanager
def _within_itself(module: torch.nn.Module) -> Iterator[None]:
    """Let pipelines find a CLIP's layers by the name that older versions of transformers have for them."""
    if hasattr(module, OLDER_NAME):
        yield
        return
    # Past torch, for which a module that holds itself has no end.
    object.__setattr__(module, OLDER_NAME, module)
    try:
        yield
    finally:
        object.__delattr__(module, OLDER_NAME)


def _distinct(readings: Iterable[ParsedPrompt]) -> tuple[list[ParsedPrompt], list[str]]:
    """Return the prompts; where two of the same words are weighed in different ways, neither is: inside they look alike."""
    found, said = list(readings), []
    for index, one in enumerate(found):
        alike = [each for each in found if each.plain == one.plain and each.sections != one.sections]
        if alike and one.is_weighted:
            found[index] = plain(one.plain, one.parameter)
            said.append(f"The weights in '{one.parameter}' have no effect: '{alike[0].parameter}' has the same words.")
    return found, said


def _check_skip(skipped: int | None, encoders: Sequence[TextEncoder]) -> None:
    """Make sure that an encoder has so many layers.

    Raises:
        InvalidParameterError: It has fewer.
    """
    layers = min((each.layers for each in encoders if each.kind == "clip" and each.layers), default=0)
    if skipped is not None and layers and not 0 <= skipped < layers:
        raise InvalidParameterError(
            f"'clip_skip' must be from 0 to {layers - 1}, not {skipped}.",
            hint="It is how many of the text encoder's last layers are left out.",
            parameter="clip_skip",
        )
