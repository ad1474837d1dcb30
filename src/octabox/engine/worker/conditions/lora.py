"""Apply LoRAs to a loaded model for one call, and take them off again without a trace.

The model's own weights are never changed: each LoRA stands beside the layers that it changes, and one call switches it on with
its own strength, and the next one does not. What is on is kept as it is for the next call that asks for the same.
"""

from __future__ import annotations

import itertools
import logging
import textwrap
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from octabox.config.model import ModelConfig
from octabox.engine.worker.conditions.lora_layers import LoraLayers
from octabox.engine.worker.conditions.lora_loading import LoadStats, load_lora_with_stats, lora_parts, quiet_libraries
from octabox.engine.worker.conditions.lycoris import kernels, plain_lora
from octabox.engine.worker.placement.offload import Placement
from octabox.errors import IncompatibleAdapterError, InvalidParameterError, OctaboxError, UnknownParameterError
from octabox.hub.adapters.adapter_file import check_lora, read_lora
from octabox.hub.adapters.lora_networks import kind_of, weights_of
from octabox.hub.adapters.lora_source import resolve_lora_file
from octabox.types import AdapterChoice, AdapterReport

logger = logging.getLogger("octabox.adapters")

#: Where a LoRA comes from, and what tells whether the file is still the same.
Key = tuple[str, int, int]


#: Longest part of a library's message that is passed on.
MAX_LENGTH = 300

#: What a strength may be given for, beside the components by their own names.
TEXT, DENOISERS = "text_encoder", ("unet", "transformer")


@dataclass(frozen=True)
class LoadedLora:
    """A LoRA in memory: the name that it was loaded under, and what became of its tensors."""

    adapter: str
    counted: LoadStats


class Loras:
    """The LoRAs of one loaded model.

    Args:
        pipe: The model's own pipeline; others over its components share what is applied to them.
        most: How many to keep in memory, those of a call that needs more of them aside.
        placement: Where the model's components are; while they move between devices, no weights are exchanged.
    """

    def __init__(self, pipe: Any, most: int = 8, placement: Placement | None = None) -> None:
        self._pipe, self._most = pipe, most
        self._placement = placement or Placement()
        self._layers = LoraLayers(lambda: lora_parts(pipe))
        self._held: OrderedDict[Key, LoadedLora] = OrderedDict()
        self._numbers = itertools.count()
        self._applied: object = ()
        self._on: object = ()

    @property
    def state(self) -> object:
        """Something that differs where LoRAs change the model otherwise: a key for what is kept of its work."""
        return self._on

    def apply(self, choices: Sequence[AdapterChoice], *, beside: bool = False) -> tuple[list[AdapterReport], list[str]]:
        """Make the model what it is with these LoRAs and no others.

        Args:
            choices: The LoRAs, by file or Hub id.
            beside: Whether they must stand beside their layers, since the call scales them itself.

        Returns:
            What became of each, and warnings.

        Raises:
            NotFoundError: One is not there.
            LoadError: One cannot be read, or does not fit the model.
            RequestError: The model takes no LoRA, or has no such component.
        """
        if not choices and not self._held:
            return [], []
        try:
            chosen = [(choice, self._load(choice)) for choice in choices]
            parts = lora_parts(self._pipe)
            strengths = {held.adapter: _strengths(choice, held, parts) for choice, held in chosen}
        except BaseException:
            self._activate({})
            raise
        # In this order: where the one that is on is taken out, PEFT switches another one on.
        self._evict({held.adapter for _, held in chosen})
        self._activate({name: each for name, each in strengths.items() if any(each.values())}, beside=beside)
        return [_report(*each) for each in chosen], [text for each in chosen for text in _warnings(*each)]

    def clear(self) -> None:
        """Take all out of memory; the model is then as it was loaded."""
        self._forget(list(self._held))

    def _load(self, choice: AdapterChoice) -> LoadedLora:
        """Return a LoRA that is in memory, loading it if need be."""
        if not hasattr(self._pipe, "load_lora_weights"):
            raise UnknownParameterError(f"{type(self._pipe).__name__} takes no LoRA.", parameter="adapters")
        file = resolve_lora_file(choice.lora)
        stat = file.stat()
        key = (str(file.absolute()), stat.st_mtime_ns, stat.st_size)
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        self._forget([old for old in self._held if old[0] == key[0]])
        held = self._read(file, choice)
        self._held[key] = held
        return held

    def _read(self, file: Path, choice: AdapterChoice) -> LoadedLora:
        """Load a LoRA into the model; after any failure nothing of it is left there."""
        shapes, _ = check_lora(file)
        names = weights_of(shapes)
        kind = kind_of(names) or ""
        self._attach()
        adapter = f"octabox{next(self._numbers):06d}"
        try:
            plain = plain_lora(file, kind, choice.display_name, kernels(self._pipe))
            with self._placement.changing():
                counted = load_lora_with_stats(self._pipe, plain or file, adapter, names)
        except BaseException as error:
            self._remove(adapter)
            if not isinstance(error, Exception) or isinstance(
                error, OctaboxError | MemoryError | torch.OutOfMemoryError
            ):
                raise
            logger.debug("the LoRA %s could not be loaded", file, exc_info=error)
            raise self._unfit(file, choice, kind, str(error)) from error
        if not counted.used:
            self._remove(adapter)
            raise self._unfit(file, choice, kind, f"it has no place for any of its {counted.keys} tensors")
        return LoadedLora(adapter, counted)

    def _unfit(self, file: Path, choice: AdapterChoice, kind: str, reason: str) -> IncompatibleAdapterError:
        """Return the error for a LoRA that the model cannot take."""
        base, model = read_lora(file, choice.display_name).base, type(self._pipe).__name__
        reason = textwrap.shorten(reason, MAX_LENGTH, placeholder=" ...").rstrip(".")
        if kind not in {"LoRA", "DoRA", "LoHa", "LoKr"}:
            message = (
                f"LoRA '{choice.display_name}' is of the kind {kind}, which cannot be applied to a {model}: {reason}."
            )
            return IncompatibleAdapterError(message, hint="Give one of the plain kind LoRA.", parameter="adapters")
        hint = f"It was trained for {base}." if base else "`octabox adapters` tells what it was trained for."
        message = f"LoRA '{choice.display_name}' does not fit this model of {model}: {reason}."
        return IncompatibleAdapterError(message, hint=hint, parameter="adapters")

    def _activate(self, strengths: Mapping[str, Mapping[str, float]], *, beside: bool = False) -> None:
        """Switch these on, each with its strength by component, and all others off."""
        wanted = tuple((name, *sorted(each.items())) for name, each in sorted(strengths.items()))
        if not self._held or (wanted == self._applied and not beside):
            return
        self._attach()
        self._on = wanted
        if not strengths:
            self._pipe.disable_lora()
            if not (beside or self._placement.moves):
                self._layers.detach()
                self._applied = wanted
            return
        self._pipe.enable_lora()
        self._pipe.set_adapters(list(strengths), [dict(each) for each in strengths.values()])
        # What stands beside its layers is set anew for each call, which may scale it and be ended amid that.
        if not (beside or self._placement.moves) and self._layers.merge():
            self._applied = wanted

    def _attach(self) -> None:
        """Let the libraries find what is loaded; what was applied must be applied anew."""
        self._applied = None
        self._layers.attach()

    def _evict(self, needed: Iterable[str]) -> None:
        """Take those out of memory that were not needed for longest."""
        needed, spare = set(needed), len(self._held) - self._most
        old = [key for key, held in self._held.items() if held.adapter not in needed]
        self._forget(old[: max(0, spare)])

    def _forget(self, keys: list[Key]) -> None:
        for key in keys:
            self._remove(self._held.pop(key).adapter)

    def _remove(self, adapter: str) -> None:
        """Take a LoRA out of the model; with the last one the layers become what they were."""
        self._attach()
        with self._placement.changing():
            self._delete(adapter)

    def _delete(self, adapter: str) -> None:
        if not self._held:
            self._pipe.unload_lora_weights()
            return
        with quiet_libraries():
            self._pipe.delete_adapters(adapter)
        for part in lora_parts(self._pipe).values():
            getattr(part, "peft_config", {}).pop(adapter, None)


def configured(config: ModelConfig) -> tuple[AdapterChoice, ...]:
    """Return the LoRAs of a model's configuration."""
    return tuple(AdapterChoice(each.lora, each.weight, each.weights) for each in config.adapters)


def _strengths(choice: AdapterChoice, held: LoadedLora, parts: Iterable[str]) -> dict[str, float]:
    """Return how strongly a LoRA is applied to each component that it changes.

    A strength for ``text_encoder`` holds for the others that have none of their own, and one for ``unet`` or ``transformer``
    for the denoiser, whichever of the two it is.
    """
    unknown = sorted(set(choice.weights) - {*parts, *DENOISERS, TEXT})
    if unknown:
        choices = sorted(parts)
        raise InvalidParameterError(
            f"LoRA '{choice.display_name}' has a strength for '{unknown[0]}', which takes no LoRA in this model.",
            hint=f"These do: {', '.join(choices)}.",
            parameter="adapters",
            choices=choices,
        )
    return {part: _strength(choice, part) for part in held.counted.parts}


def _strength(choice: AdapterChoice, part: str) -> float:
    family = (TEXT,) if part.startswith(TEXT) else DENOISERS
    names = [name for name in (part, *family) if name in choice.weights]
    return float(choice.weights[names[0]] if names else choice.weight)


def _report(choice: AdapterChoice, held: LoadedLora) -> AdapterReport:
    return AdapterReport(choice.display_name, choice.weight, dict(choice.weights), held.counted.keys, held.counted.used)


def _warnings(choice: AdapterChoice, held: LoadedLora) -> list[str]:
    """Return what to say of a LoRA that the model took only a part of."""
    counted = held.counted
    left = counted.keys - counted.used
    if not left:
        return []
    such = f", such as {', '.join(counted.strange[:3])}" if counted.strange else ""
    return [f"LoRA '{choice.display_name}': {left} of its {counted.keys} tensors have no place in this model{such}."]
