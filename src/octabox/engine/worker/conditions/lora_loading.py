"""Load a LoRA into a pipeline and count which of its tensors found a place there."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from octabox.hub.adapters.lora_networks import weights_of


@dataclass(frozen=True)
class LoadStats:
    """What became of a LoRA's tensors.

    Args:
        keys: How many there are.
        used: How many of them the model took.
        strange: Some of those that have no place in it.
        parts: Components that took any.
    """

    keys: int
    used: int
    strange: tuple[str, ...]
    parts: tuple[str, ...]


def lora_components(pipe: Any) -> dict[str, torch.nn.Module]:
    """Return the components of a pipeline that may take a LoRA."""
    names = getattr(type(pipe), "_lora_loadable_modules", ())
    found = {name: getattr(pipe, name, None) for name in names}
    return {name: part for name, part in found.items() if isinstance(part, torch.nn.Module)}


def load_lora_with_stats(
    pipe: Any, weights: Path | dict[str, torch.Tensor], adapter: str, names: list[str]
) -> LoadStats:
    """Load a LoRA under a name and count its tensors.

    Args:
        pipe: A pipeline that takes LoRAs.
        weights: The LoRA's file, or its tensors.
        adapter: Name to load it under.
        names: Names of the file's tensors with weights.
    """
    read: dict[str, Any] = {}
    # A file's names are turned into the model's on the way; what they were turned into is what can be counted.
    own = pipe.lora_state_dict

    def watched(*args: Any, **options: Any) -> Any:
        answer = own(*args, **options)
        read.update(answer[0] if isinstance(answer, tuple) else answer)
        return answer

    with silence_libraries(), _replaced(pipe, "lora_state_dict", watched):
        if isinstance(weights, Path):
            pipe.load_lora_weights(str(weights.parent), weight_name=weights.name, adapter_name=adapter)
        else:
            pipe.load_lora_weights(weights, adapter_name=adapter)
    return _counted(pipe, adapter, weights_of(read), names)


def _counted(pipe: Any, adapter: str, wanted: list[str], names: list[str]) -> LoadStats:
    """Compare the names that were to be loaded with the tensors that are there now."""
    parts = lora_components(pipe)
    there = {name: _tensors(part, adapter) for name, part in parts.items()}
    asked = Counter(name.partition(".")[0] for name in wanted)
    used = sum(min(asked[name], count) for name, count in there.items())
    strange = [name for name in wanted if name.partition(".")[0] not in parts]
    strange += [name for name in wanted if (part := parts.get(name.partition(".")[0])) and not _has(part, name)]
    # diffusers reads most DoRAs as plain LoRAs, without the lengths that make them what they are.
    dropped = [] if any("magnitude" in name for name in wanted) else [name for name in names if "dora_scale" in name]
    # One tensor of the file may become several of the model's, or several one: what is lost is told in parts of the whole.
    taken = (len(names) - len(dropped)) * used // len(wanted) if wanted else 0
    parted = tuple(name for name, count in there.items() if count)
    return LoadStats(len(names), taken, tuple(dict.fromkeys([*dropped, *strange])), parted)


def _tensors(part: torch.nn.Module, adapter: str) -> int:
    """Return how many tensors of this adapter a component has."""
    return sum(adapter in name.split(".") for name, _ in part.named_parameters())


def _has(part: torch.nn.Module, name: str) -> bool:
    """Tell whether a component has the module that a tensor is for; of names in an older layout that is not asked."""
    place = name.partition(".")[2].partition(".lora_")[0]
    if "processor" in name or place == name.partition(".")[2]:
        return True
    try:
        part.get_submodule(place)
    except AttributeError:
        return False
    return True


@contextmanager
def _replaced(owner: Any, name: str, stand_in: Any) -> Iterator[None]:
    """Let an object have another method while this lasts."""
    setattr(owner, name, stand_in)
    try:
        yield
    finally:
        delattr(owner, name)


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Let the libraries say nothing of unknown names, which is told in other words."""
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers", "peft")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
