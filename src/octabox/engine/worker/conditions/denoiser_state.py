"""What a denoiser is made of, besides its weights: which parts something has put into it, to take them out and put them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: How the names of attention processors end, behind that of the layer.
PROCESSOR = ".processor"

#: Stands for an attribute that is not there.
ABSENT = object()


@dataclass(frozen=True)
class DenoiserState:
    """Some of what a denoiser is made of.

    Args:
        processors: Attention processors by place.
        parts: Its attributes, modules among them.
        settings: Attributes of its configuration.
    """

    processors: Mapping[str, Any]
    parts: Mapping[str, Any]
    settings: Mapping[str, Any]


def snapshot(denoiser: Any) -> DenoiserState:
    """Return what a denoiser is made of now."""
    return DenoiserState(dict(denoiser.attn_processors), _attributes(denoiser), _attributes(denoiser.config))


def changed_modules(before: DenoiserState, after: DenoiserState) -> tuple[DenoiserState, DenoiserState]:
    """Return what differs between two states: as it was, and as it is."""
    # What has come with a new part, such as a projection with attention of its own, goes with it.
    processors = [name for name, each in before.processors.items() if each is not after.processors.get(name)]
    parts, settings = _changed(before.parts, after.parts), _changed(before.settings, after.settings)
    first, second = (
        DenoiserState(
            {name: state.processors[name] for name in processors},
            {name: state.parts.get(name, ABSENT) for name in parts},
            {name: state.settings.get(name, ABSENT) for name in settings},
        )
        for state in (before, after)
    )
    return first, second


def restore(denoiser: Any, state: DenoiserState) -> None:
    """Make a denoiser what it is in a state."""
    for place, processor in state.processors.items():
        denoiser.get_submodule(place.removesuffix(PROCESSOR)).set_processor(processor)
    for thing, attributes in ((denoiser, state.parts), (denoiser.config, state.settings)):
        for name, value in attributes.items():
            if value is not ABSENT:
                setattr(thing, name, value)
            elif hasattr(thing, name):
                delattr(thing, name)


def _attributes(thing: Any) -> dict[str, Any]:
    """Return the public attributes of an object, modules too."""
    return {name: value for name, value in {**vars(thing), **vars(thing).get("_modules", {})}.items() if name[0] != "_"}


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [name for name in {**before, **after} if before.get(name, ABSENT) is not after.get(name, ABSENT)]
