"""Find the noise scheduler that a name means: a class of diffusers, or an alias from ``schedulers.yaml``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from octabox.errors import SchedulerNotFoundError, nearest

#: A class, and settings of its constructor.
Meaning = tuple[str, Mapping[str, Any]]


@cache
def _table() -> dict[str, Any]:
    """Return the table of other names."""
    text = Path(__file__).with_name("schedulers.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def aliases() -> dict[str, Meaning]:
    """Return every alias with the class and the settings that it stands for."""
    return {
        alias: (meant, {}) if isinstance(meant, str) else (meant["class"], meant["settings"])
        for alias, meant in _table()["aliases"].items()
    }


def scheduler_of(name: str, settings: Mapping[str, Any], known: Collection[str]) -> tuple[str, dict[str, Any]]:
    """Return the class that a name means, and all settings of its constructor, the given ones strongest.

    Args:
        name: A class, with or without ``Scheduler`` at its end, or an alias, with ``k_`` before it for Karras sigmas.
        settings: Settings that were given beside the name.
        known: The scheduler classes that there are.

    Raises:
        SchedulerNotFoundError: No class and no alias has this name.
    """
    found = _meaning(name, known)
    if found is None:
        raise _not_found(name, known)
    class_name, implied = found
    if class_name not in known:
        hint = "Install a diffusers that has it, or choose another scheduler."
        raise SchedulerNotFoundError(f"Scheduler {name!r} is {class_name}, which is not installed.", hint=hint)
    return class_name, {**implied, **settings}


def _meaning(name: str, known: Collection[str]) -> Meaning | None:
    """Return what a name means, if anything."""
    for class_name in (name, f"{name}Scheduler"):
        if class_name in known:
            return class_name, {}
    spelled = name.strip().lower().replace("++", "pp").replace(" ", "_").replace("-", "_")
    by_alias = aliases()
    if spelled in by_alias:
        return by_alias[spelled]
    for prefix, implied in _table()["prefixes"].items():
        if spelled.startswith(prefix) and (inner := _meaning(spelled.removeprefix(prefix), known)):
            return inner[0], {**inner[1], **implied}
    for suffix, implied in _table()["suffixes"].items():
        if spelled.endswith(suffix) and (inner := _meaning(spelled.removesuffix(suffix), known)):
            return inner[0], {**inner[1], **implied}
    return None


def _not_found(name: str, known: Collection[str]) -> SchedulerNotFoundError:
    """Return the error for a name that means nothing, with the names most like it."""
    choices = [*aliases(), *sorted(known)]
    like = nearest(name, choices)
    hint = f"Did you mean {' or '.join(like)}?" if like else "`octabox schedulers` lists them all."
    return SchedulerNotFoundError(f"There is no scheduler {name!r}.", hint=hint, parameter="scheduler", choices=choices)
