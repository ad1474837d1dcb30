"""Load LoRAs into a model, and apply a different set of them in each call.

The model's original weights never change: LoRAs are separate layers, or are merged into copies of the weights.
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

from octabox.config.model import ModelConfig
from octabox.engine.sources.local import local_lora
from octabox.engine.worker.conditions.lora_layers import LoraLayers
from octabox.engine.worker.conditions.lora_loading import (
    LoadStats,
    equal_denoisers,
    load_lora_with_stats,
    lora_components,
    silence_libraries,
)
from octabox.engine.worker.conditions.lora_strengths import component_weights, unused_weights
from octabox.engine.worker.conditions.lora_weights import changes_nothing, read_lora_weights
from octabox.engine.worker.conditions.lora_widths import is_expanded, unload_loras
from octabox.engine.worker.placement.device_errors import is_out_of_memory
from octabox.engine.worker.placement.layerwise_casting import cast_for_magnitudes
from octabox.engine.worker.placement.offload import Placement
from octabox.errors import IncompatibleAdapterError, OctaboxError, UnknownParameterError
from octabox.hub.adapters.adapter_file import check_lora, read_lora
from octabox.hub.adapters.lora_networks import kind_of, weights_of
from octabox.hub.adapters.lora_scales import read_scales
from octabox.hub.adapters.lora_source import resolve_lora_file
from octabox.types import AdapterChoice, AdapterReport

logger = logging.getLogger("octabox.adapters")

#: File path, modification time and size of a LoRA, which identify its contents, and the denoisers that a request names.
Key = tuple[str, int, int, tuple[str, ...]]

#: Maximal length of a library's message in an error.
MAX_LENGTH = 300

#: Reason of an error, with the number of tensors.
NO_LAYER = "none of its {} tensors belongs to a layer of the model"

#: Types of networks that can be applied.
SUPPORTED = frozenset({"LoRA", "DoRA", "LoHa", "LoKr"})


@dataclass(frozen=True)
class LoadedLora:
    """A LoRA in memory.

    Args:
        adapter: PEFT adapter name that it is loaded under.
        stats: Number of its tensors that the model uses.
        is_zero: Whether all its changes are zero.
    """

    adapter: str
    stats: LoadStats
    is_zero: bool = False


class Loras:
    """The LoRAs of one loaded model.

    Args:
        pipe: The model's pipeline; sibling pipelines share its components.
        max_loaded: Number of LoRAs to keep in memory, except that a call may need more.
        placement: Placement of the model's components; LoRAs are not merged into offloaded weights.
    """

    def __init__(self, pipe: Any, max_loaded: int = 8, placement: Placement | None = None) -> None:
        self._pipe, self._max_loaded, self._placement = pipe, max_loaded, placement or Placement()
        self._layers = LoraLayers(lambda: lora_components(pipe))
        self._loaded: OrderedDict[Key, LoadedLora] = OrderedDict()
        self._numbers = itertools.count()
        self._applied: object = ()
        self._active: object = ()

    @property
    def state(self) -> object:
        """A cache key of the active LoRAs and their weights."""
        return self._active

    def apply(
        self, choices: Sequence[AdapterChoice], *, unmerged: bool = False
    ) -> tuple[list[AdapterReport], list[str]]:
        """Apply these LoRAs to the model, and no others.

        Args:
            choices: The LoRAs, by file or Hub id.
            unmerged: Whether to keep LoRAs as separate layers, for a call that scales them itself.

        Returns:
            A report for each LoRA, and warnings.

        Raises:
            NotFoundError: A LoRA does not exist.
            LoadError: A LoRA cannot be read or is incompatible with the model.
            RequestError: The model does not support LoRAs, or has no component that a weight is set for.
        """
        if not choices and not self._loaded:
            return [], []
        try:
            keys = [_key_of(self._pipe, choice) for choice in choices]
            self._unload_expanding(keys)
            loaded = [(choice, self._load(choice, key)) for choice, key in zip(choices, keys, strict=True)]
            components = lora_components(self._pipe)
            weights = {
                lora.adapter: component_weights(choice, lora.stats.components, components) for choice, lora in loaded
            }
        except BaseException:
            self._unload_expanding(())
            self._activate({})
            raise
        # Evict first: PEFT activates another adapter when it deletes the active one.
        self._evict({lora.adapter for _, lora in loaded})
        self._activate({name: each for name, each in weights.items() if any(each.values())}, unmerged=unmerged)
        warnings = [text for choice, lora in loaded for text in _warnings(choice, lora, weights[lora.adapter])]
        return [_report(*each) for each in loaded], warnings

    def clear(self) -> None:
        """Unload all LoRAs."""
        self._unload(list(self._loaded))
        self._active = ()

    def _load(self, choice: AdapterChoice, key: Key) -> LoadedLora:
        """Return a LoRA, which is loaded if it is not in memory."""
        if key in self._loaded:
            self._loaded.move_to_end(key)
            return self._loaded[key]
        self._unload([old for old in self._loaded if old[0] == key[0] and old[:3] != key[:3]])
        lora = self._read(Path(key[0]), choice, key[-1])
        self._loaded[key] = lora
        return lora

    def _read(self, file: Path, choice: AdapterChoice, denoisers: tuple[str, ...]) -> LoadedLora:
        """Load a LoRA from a file; after an error nothing of it is left in the model."""
        shapes, metadata = check_lora(file)
        names = weights_of(shapes)
        kind = kind_of(names) or ""
        self.attach()
        adapter = f"octabox{next(self._numbers):06d}"
        try:
            scales = read_scales(file, metadata, names)
            weights = read_lora_weights(file, choice.display_name, kind, scales, lora_components(self._pipe))
            with self._placement.suspended():
                stats = load_lora_with_stats(self._pipe, weights, adapter, names, denoisers)
            cast_for_magnitudes(*lora_components(self._pipe).values())
        except BaseException as error:
            self._remove(adapter)
            if not isinstance(error, Exception) or isinstance(error, OctaboxError) or is_out_of_memory(error):
                raise
            logger.debug("the LoRA %s could not be loaded", file, exc_info=error)
            raise _incompatibility_error(self._pipe, file, choice, kind, str(error)) from error
        if not stats.used:
            self._remove(adapter)
            raise _incompatibility_error(self._pipe, file, choice, kind, NO_LAYER.format(stats.keys))
        return LoadedLora(adapter, stats, changes_nothing(weights))

    def _activate(self, weights: Mapping[str, Mapping[str, float]], *, unmerged: bool = False) -> None:
        """Activate these adapters with their weights by component, and deactivate all others."""
        requested = tuple((name, *sorted(each.items())) for name, each in sorted(weights.items()))
        if not self._loaded or (requested == self._applied and not unmerged):
            return
        self.attach()
        self._active = requested
        can_merge = not (unmerged or self._placement.offloads)
        if not weights:
            self._pipe.disable_lora()
            if can_merge:
                self._layers.detach()
                self._applied = requested
            return
        self._pipe.enable_lora()
        self._pipe.set_adapters(list(weights), [dict(each) for each in weights.values()])
        self._layers.deactivate_unscaled()
        # Unmerged adapters are activated again in each call, since an interrupted call may leave them scaled.
        if can_merge and self._layers.merge():
            self._applied = requested

    def attach(self) -> None:
        """Restore the LoRA layers where PEFT expects them; adapters must be activated again."""
        self._applied = None
        self._layers.attach()

    def _evict(self, required: Iterable[str]) -> None:
        """Unload the least recently used LoRAs beyond the limit, except the required ones."""
        required, excess = set(required), len(self._loaded) - self._max_loaded
        evictable = [key for key, lora in self._loaded.items() if lora.adapter not in required]
        self._unload(evictable[: max(0, excess)])

    def _unload(self, keys: list[Key]) -> None:
        for key in keys:
            self._remove(self._loaded.pop(key).adapter)

    def _unload_expanding(self, required: Iterable[Key]) -> None:
        """Unload all LoRAs if a layer is expanded for none of these; it can only be restored without any."""
        kept = [self._loaded[key] for key in required if key in self._loaded]
        if is_expanded(lora_components(self._pipe)) and not any(lora.stats.expands for lora in kept):
            self.clear()

    def _remove(self, adapter: str) -> None:
        """Remove an adapter from the model; without any the original layers are restored."""
        self.attach()
        with self._placement.suspended():
            if not self._loaded:
                unload_loras(self._pipe, lora_components(self._pipe))
                return
            with silence_libraries():
                self._pipe.delete_adapters(adapter)
            for component in lora_components(self._pipe).values():
                getattr(component, "peft_config", {}).pop(adapter, None)


def configured_adapters(config: ModelConfig) -> tuple[AdapterChoice, ...]:
    """Return the LoRAs of a model's configuration."""
    return tuple(AdapterChoice(each.lora, each.weight, each.weights) for each in config.adapters)


def _key_of(pipe: Any, choice: AdapterChoice) -> Key:
    """Return the key of a LoRA in a pipeline."""
    if not hasattr(pipe, "load_lora_weights"):
        message = f"{type(pipe).__name__} does not support LoRAs."
        raise UnknownParameterError(message, parameter="adapters")
    file = resolve_lora_file(local_lora(choice.lora))
    stat = file.stat()
    denoisers = tuple(name for name in equal_denoisers(pipe) if choice.weights.get(name))
    return str(file.absolute()), stat.st_mtime_ns, stat.st_size, denoisers


def _incompatibility_error(
    pipe: Any, file: Path, choice: AdapterChoice, kind: str, reason: str
) -> IncompatibleAdapterError:
    """Return the error for a LoRA that is incompatible with the model."""
    found, model = read_lora(file, choice.display_name), type(pipe).__name__
    reason = textwrap.shorten(reason, MAX_LENGTH, placeholder=" ...").rstrip(".")
    if kind not in SUPPORTED:
        message = f"LoRA '{choice.display_name}' is of type {kind}, which is not supported for a {model}: {reason}."
        return IncompatibleAdapterError(message, hint="Use a plain LoRA.", parameter="adapters")
    layout = f"Its names are in the layout {found.layout!r}" if found.layout else "Its layout is not known"
    trained = f"It was trained for {found.base}." if found.base else "`octabox adapters` shows what it was trained for."
    hint = f"{layout}. {trained}"
    message = f"LoRA '{choice.display_name}' does not fit this model of {model}: {reason}."
    return IncompatibleAdapterError(message, hint=hint, parameter="adapters")


def _report(choice: AdapterChoice, lora: LoadedLora) -> AdapterReport:
    return AdapterReport(choice.display_name, choice.weight, dict(choice.weights), lora.stats.keys, lora.stats.used)


def _warnings(choice: AdapterChoice, lora: LoadedLora, applied: Mapping[str, float]) -> list[str]:
    """Return warnings if the model does not use all tensors or weights of a LoRA, or if it changes nothing."""
    stats = lora.stats
    unused = stats.keys - stats.used
    if lora.is_zero:
        return [f"LoRA '{choice.display_name}' changes nothing: all its weights or their scales are zero."]
    skipped = [
        f"LoRA '{choice.display_name}' changes {', '.join(stats.components)}, but not {name}: set `weights` for those that "
        "it is for."
        for name in stats.skipped
    ]
    skipped += unused_weights(choice, applied)
    if not unused:
        return skipped
    examples = f", such as {', '.join(stats.unused_names[:3])}" if stats.unused_names else ""
    message = (
        f"LoRA '{choice.display_name}': {unused} of its {stats.keys} tensors are not used by this model{examples}."
    )
    return [message, *skipped]
