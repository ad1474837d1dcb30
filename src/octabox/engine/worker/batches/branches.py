"""Describe what may decide which branches of its code a pipeline takes: not how large a number is, but whether it is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from diffusers import ConfigMixin

from octabox.catalog.entries import PipelineEntry
from octabox.engine.protocol import Run
from octabox.types import SchedulerChoice

#: The description of a text that is not empty.
TEXT = "text"

#: What numbers are compared with in code, such as a guidance scale with 1.
BOUNDS = (0, 1)


def describe_params(run: Run, entry: PipelineEntry) -> dict[str, Any]:
    """Return a description, which JSON can hold, of each parameter that may let a call take other branches than its default.

    Args:
        run: The run.
        entry: The pipeline that it calls.
    """
    described = {}
    for name, value in sorted(run.params.items()):
        parameter = entry.parameter(name)
        is_text = parameter is not None and parameter.kind == "text"
        found = describe_value(value, is_text=is_text)
        has_default = parameter is not None and parameter.literal and not parameter.required
        if not has_default or found != describe_value(parameter and parameter.default, is_text=is_text):
            described[name] = found
    return described


def describe_value(value: Any, *, is_text: bool = False, exact_integers: bool = False) -> Any:
    """Return a description of a value, which is equal for numbers between the same bounds.

    Args:
        value: The value.
        is_text: Whether a string is for people; others name an alternative, and are kept.
        exact_integers: Whether integers are kept, such as the order of a solver; others are compared as numbers are.
    """
    if isinstance(value, str):
        return (TEXT if value else "") if is_text else value
    if value is None or isinstance(value, bool) or (exact_integers and isinstance(value, int)):
        return value
    if isinstance(value, int | float):
        return "".join("<" if value < bound else "=" if value == bound else ">" for bound in BOUNDS)
    options = {"is_text": is_text, "exact_integers": exact_integers}
    if isinstance(value, Mapping):
        return {str(name): describe_value(each, **options) for name, each in sorted(value.items(), key=str)}
    if isinstance(value, list | tuple | set | frozenset):
        found = {json.dumps(describe_value(each, **options), sort_keys=True) for each in value}
        return [type(value).__name__, *sorted(found)]
    return type(value).__name__


def describe_scheduler(scheduler: Any, choice: SchedulerChoice | None) -> dict[str, Any]:
    """Return a description of a scheduler: its class, its configuration, and what a request has set.

    Args:
        scheduler: The scheduler of a call.
        choice: The scheduler of the request; None if it has none.
    """
    return {"class": type(scheduler).__name__, "config": describe_config(scheduler), **describe_choice(choice)}


def describe_choice(choice: SchedulerChoice | None) -> dict[str, Any]:
    """Return a description of the scheduler of a request; empty if it has none."""
    if choice is None:
        return {}
    settings = describe_value(choice.settings, exact_integers=True)
    return {"name": choice.name, "settings": settings, "timesteps": bool(choice.timesteps)}


def describe_config(component: Any) -> dict[str, Any]:
    """Return a description of the configuration of a pipeline or a component; empty if it has none."""
    # Some classes of diffusers, such as the watermarker of DeepFloyd IF, inherit the attribute and never set it.
    stored = getattr(component, "config", None) if isinstance(component, ConfigMixin) else None
    if stored is None:
        return {}
    is_model = not hasattr(component, "set_timesteps")
    config = {name: value for name, value in stored.items() if not name.startswith("_")}
    described: dict[str, Any] = describe_value(config, exact_integers=not is_model)
    return described


def name_branches(described: Mapping[str, Any], entry: PipelineEntry) -> list[str]:
    """Return the names of described parameters, but for texts that each call has; a text that is empty is named as that."""
    required = {each.name for each in entry.parameters if each.required}
    named = {name: value for name, value in described.items() if not (name in required and value == TEXT)}
    return [f"empty {name}" if value == "" else name for name, value in named.items()]
