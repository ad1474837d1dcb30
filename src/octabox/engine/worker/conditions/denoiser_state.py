"""Snapshot and restore the attention processors, modules and settings of a denoiser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Suffix of the names of attention processors.
PROCESSOR_SUFFIX = ".processor"

#: Value of a missing attribute.
MISSING = object()


@dataclass(frozen=True)
class DenoiserState:
    """Attention processors, modules and settings of a denoiser.

    Args:
        processors: Attention processors by name.
        attributes: Its attributes, including modules.
        settings: Attributes of its configuration.
    """

    processors: Mapping[str, Any]
    attributes: Mapping[str, Any]
    settings: Mapping[str, Any]


def snapshot(denoiser: Any) -> DenoiserState:
    """Return the current state of a denoiser."""
    return DenoiserState(dict(denoiser.attn_processors), _attributes(denoiser), _attributes(denoiser.config))


def changed_modules(before: DenoiserState, after: DenoiserState) -> tuple[DenoiserState, DenoiserState]:
    """Return the differences between two states: the values before and the values after."""
    # Processors of modules that were added are part of those modules.
    processors = [name for name, each in before.processors.items() if each is not after.processors.get(name)]
    attributes = _changed_names(before.attributes, after.attributes)
    settings = _changed_names(before.settings, after.settings)
    first, second = (
        DenoiserState(
            {name: state.processors[name] for name in processors},
            {name: state.attributes.get(name, MISSING) for name in attributes},
            {name: state.settings.get(name, MISSING) for name in settings},
        )
        for state in (before, after)
    )
    return first, second


def restore(denoiser: Any, state: DenoiserState) -> None:
    """Set the processors, attributes and settings of a denoiser to those of a state."""
    for name, processor in state.processors.items():
        denoiser.get_submodule(name.removesuffix(PROCESSOR_SUFFIX)).set_processor(processor)
    for target, attributes in ((denoiser, state.attributes), (denoiser.config, state.settings)):
        for name, value in attributes.items():
            if value is not MISSING:
                setattr(target, name, value)
            elif hasattr(target, name):
                delattr(target, name)


def _attributes(target: Any) -> dict[str, Any]:
    """Return the public attributes of an object, including modules."""
    attributes = {**vars(target), **vars(target).get("_modules", {})}
    return {name: value for name, value in attributes.items() if not name.startswith("_")}


def _changed_names(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [name for name in {**before, **after} if before.get(name, MISSING) is not after.get(name, MISSING)]
