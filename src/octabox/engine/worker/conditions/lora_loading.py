"""Load a LoRA into a pipeline and count which of its tensors the model uses."""

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
    """The number of a LoRA's tensors that a model uses.

    Args:
        keys: Number of tensors in the file.
        used: Number of tensors that the model uses.
        unused_names: Names of some of the others.
        components: Components that use any.
    """

    keys: int
    used: int
    unused_names: tuple[str, ...]
    components: tuple[str, ...]


def lora_components(pipe: Any) -> dict[str, torch.nn.Module]:
    """Return the components of a pipeline that support LoRAs."""
    names = getattr(type(pipe), "_lora_loadable_modules", ())
    found = {name: getattr(pipe, name, None) for name in names}
    return {name: part for name, part in found.items() if isinstance(part, torch.nn.Module)}


def load_lora_with_stats(
    pipe: Any, weights: Path | dict[str, torch.Tensor], adapter: str, names: list[str]
) -> LoadStats:
    """Load a LoRA under a name and count its tensors.

    Args:
        pipe: A pipeline that supports LoRAs.
        weights: The LoRA's file, or its tensors.
        adapter: Name to load it under.
        names: Names of the weight tensors in the file.
    """
    state_dict: dict[str, Any] = {}
    # diffusers converts the file's names to the model's; the converted ones are counted.
    lora_state_dict = pipe.lora_state_dict

    def record_state_dict(*args: Any, **options: Any) -> Any:
        result = lora_state_dict(*args, **options)
        state_dict.update(result[0] if isinstance(result, tuple) else result)
        return result

    with silence_libraries(), _replace_method(pipe, "lora_state_dict", record_state_dict):
        if isinstance(weights, Path):
            pipe.load_lora_weights(str(weights.parent), weight_name=weights.name, adapter_name=adapter)
        else:
            pipe.load_lora_weights(weights, adapter_name=adapter)
    return _count_tensors(pipe, adapter, weights_of(state_dict), names)


def _count_tensors(pipe: Any, adapter: str, converted: list[str], names: list[str]) -> LoadStats:
    """Compare the converted names with the tensors that the components have."""
    components = lora_components(pipe)
    loaded = {name: _adapter_tensors(part, adapter) for name, part in components.items()}
    requested = Counter(name.partition(".")[0] for name in converted)
    used = sum(min(requested[name], count) for name, count in loaded.items())
    unused = [name for name in converted if name.partition(".")[0] not in components]
    unused += [
        name for name in converted if (part := components.get(name.partition(".")[0])) and not _has_target(part, name)
    ]
    # diffusers loads most DoRAs as plain LoRAs, without their magnitudes.
    dropped = [] if any("magnitude" in name for name in converted) else [name for name in names if "dora_scale" in name]
    # Conversion may split or join tensors, so the used share is scaled to the number in the file.
    used_keys = (len(names) - len(dropped)) * used // len(converted) if converted else 0
    with_lora = tuple(name for name, count in loaded.items() if count)
    return LoadStats(len(names), used_keys, tuple(dict.fromkeys([*dropped, *unused])), with_lora)


def _adapter_tensors(component: torch.nn.Module, adapter: str) -> int:
    """Return the number of tensors that a component has of an adapter."""
    return sum(adapter in name.split(".") for name, _ in component.named_parameters())


def _has_target(component: torch.nn.Module, name: str) -> bool:
    """Return whether a component has the module that a tensor belongs to; True for names in older layouts."""
    target = name.partition(".")[2].partition(".lora_")[0]
    if "processor" in name or target == name.partition(".")[2]:
        return True
    try:
        component.get_submodule(target)
    except AttributeError:
        return False
    return True


@contextmanager
def _replace_method(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """Replace a method of an object within the context."""
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        delattr(owner, name)


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Silence the libraries' messages about unknown names, which are reported otherwise."""
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
