"""Resolve names of noise schedulers: classes of diffusers and aliases from ``schedulers.yaml``, with a schedule."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from octabox.errors import InvalidParameterError, SchedulerNotFoundError, nearest
from octabox.types import SchedulerChoice

#: Setting for the name of a schedule; no class has a setting of this name.
SCHEDULE = "schedule"

#: Separators between the words of a name.
SEPARATORS = re.compile(r"[\s-]+")


@dataclass(frozen=True)
class SchedulerAlias:
    """An alias of a noise scheduler.

    Args:
        name: The name.
        kind: The class.
        settings: Settings of the constructor.
        aliases: Other names.
        automatic: Schedule that the web UI uses by default.
        caveat: Difference to what the name promises.
    """

    name: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    automatic: str | None = None
    caveat: str = ""


@dataclass(frozen=True)
class Schedule:
    """A schedule of the noise levels.

    Args:
        name: Its name.
        settings: Settings of the constructor of a scheduler that select it.
        aliases: Other names.
        timesteps: Custom timesteps by model family.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    timesteps: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


class ResolvedAlias(NamedTuple):
    """A resolved name: a class, settings of its constructor, a schedule, and a caveat."""

    kind: str
    settings: dict[str, Any]
    schedule: Schedule | None = None
    caveat: str = ""


@cache
def load_table() -> dict[str, Any]:
    """Return the content of ``schedulers.yaml``."""
    text = Path(__file__).with_name("schedulers.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@cache
def scheduler_aliases() -> tuple[SchedulerAlias, ...]:
    """Return all aliases."""
    rows = load_table()["schedulers"].items()
    return tuple(
        SchedulerAlias(
            name,
            row["class"],
            row.get("settings", {}),
            tuple(row.get("aliases", ())),
            row.get("automatic"),
            row.get("caveat", ""),
        )
        for name, row in rows
    )


@cache
def schedules() -> Mapping[str, Schedule]:
    """Return all schedules by name."""
    rows = load_table()["schedules"].items()
    return {
        name: Schedule(
            name,
            row.get("settings", {}),
            tuple(row.get("aliases", ())),
            {family: tuple(steps) for family, steps in row.get("timesteps", {}).items()},
        )
        for name, row in rows
    }


def resolve_scheduler(name: str, settings: Mapping[str, Any], known: Collection[str]) -> ResolvedAlias:
    """Resolve the name of a scheduler; settings of the request take precedence over those of the name.

    Args:
        name: A class, with or without the suffix ``Scheduler``, or an alias; optionally followed by a schedule, or preceded
            by ``k_`` for Karras sigmas.
        settings: Settings of the request; ``schedule`` is the name of a schedule.
        known: The available scheduler classes.

    Raises:
        SchedulerNotFoundError: The name is unknown, or its class is not available.
        InvalidParameterError: The schedule is unknown.
    """
    normalized = _normalize(name)
    found = next(_candidates(normalized, name, known), None)
    if found is None:
        raise _not_found(name, normalized, known)
    alias, schedule = found
    if alias.kind not in known:
        hint = "Install a version of diffusers that has it, or choose another scheduler."
        raise SchedulerNotFoundError(
            f"Scheduler {name!r} is {alias.kind}, which is not installed.", hint=hint, parameter="scheduler"
        )
    options = dict(settings)
    requested = options.pop(SCHEDULE, None)
    schedule = schedule if requested is None else str(requested)
    selected = _schedule(schedule, alias) if schedule is not None else None
    if any(options.get(flag) and not (selected and selected.settings.get(flag)) for flag in load_table()["exclusive"]):
        # A flag for another schedule takes precedence.
        selected = None
    implied = {**alias.settings, **(selected.settings if selected else {})}
    return ResolvedAlias(alias.kind, {**implied, **options}, selected, alias.caveat)


def split_schedule(name: str, known: Collection[str]) -> tuple[str, str | None]:
    """Return the name of a scheduler without the schedule in it, and that schedule; None if the name has none.

    Args:
        name: Any name that `resolve_scheduler` accepts.
        known: The available scheduler classes.

    Raises:
        SchedulerNotFoundError: The name is unknown.
    """
    normalized = _normalize(name)
    found = next(_candidates(normalized, name, known), None)
    if found is None:
        raise _not_found(name, normalized, known)
    alias, schedule = found
    return (name, None) if schedule is None else (alias.name, schedule)


def _normalize(name: str) -> str:
    """Return a name in lower case, with one underscore between words."""
    return SEPARATORS.sub("_", name.strip().lower().replace("++", "pp"))


def _candidates(normalized: str, name: str, known: Collection[str]) -> Iterator[tuple[SchedulerAlias, str | None]]:
    """Yield the possible schedulers and schedules of a name, the simplest first."""
    if alias := _find_alias(name.strip(), normalized, known):
        yield alias, None
    prefixes = load_table()["prefix"]
    for label, schedule in sorted(_schedule_names().items(), key=lambda each: -len(each[0])):
        bare = normalized.removesuffix(f"_{label}")
        if bare != normalized:
            # A schedule after the name takes precedence over the prefix `k_`, which the web UI adds to all names.
            for inner in (bare, *(bare.removeprefix(prefix) for prefix in prefixes)):
                if alias := _find_alias(inner, inner, known):
                    yield alias, schedule
    for prefix, schedule in prefixes.items():
        inner = normalized.removeprefix(prefix)
        if inner != normalized and (alias := _find_alias(inner, inner, known)):
            yield alias, schedule


def _find_alias(name: str, normalized: str, known: Collection[str]) -> SchedulerAlias | None:
    """Return the scheduler of a name without a schedule; None if it is unknown."""
    for kind in (name, f"{name}Scheduler"):
        if kind in known:
            return SchedulerAlias(kind, kind)
    if normalized in _aliases():
        return _aliases()[normalized]
    # Without underscores, `k_dpm_2` would be InvokeAI's `kdpm_2`, which has no Karras sigmas.
    is_prefixed = normalized.startswith(("_", *load_table()["prefix"]))
    compact = normalized.replace("_", "")
    if not is_prefixed and compact in _compact_aliases():
        return _compact_aliases()[compact]
    kinds = {kind.lower(): kind for kind in known}
    found = kinds.get(compact) or kinds.get(f"{compact}scheduler")
    return SchedulerAlias(found, found) if found else None


@cache
def _aliases() -> Mapping[str, SchedulerAlias]:
    """Return all aliases by each of their names."""
    return {name: alias for alias in scheduler_aliases() for name in (alias.name, *alias.aliases)}


@cache
def _compact_aliases() -> Mapping[str, SchedulerAlias]:
    """Return all aliases by their names without underscores."""
    return {name.replace("_", ""): alias for name, alias in _aliases().items()}


@cache
def _schedule_names() -> Mapping[str, str]:
    """Return the schedule by each of its names; schedules that diffusers does not have are included, to be refused."""
    found = {name: schedule.name for schedule in schedules().values() for name in (schedule.name, *schedule.aliases)}
    return found | {name: name for name in (load_table()["automatic"], *load_table()["no_schedule"])}


def _schedule(name: str, alias: SchedulerAlias) -> Schedule | None:
    """Return a schedule by name; None for the default schedule of the scheduler."""
    normalized = _normalize(name)
    schedule = _schedule_names().get(normalized) or _schedule_names().get(normalized.replace("_", ""), "")
    if schedule == load_table()["automatic"]:
        return None if alias.automatic is None else schedules()[alias.automatic]
    if schedule in schedules():
        return schedules()[schedule]
    is_known = schedule in load_table()["no_schedule"]
    message = f"Schedule {name!r} has no equivalent in diffusers." if is_known else f"There is no schedule {name!r}."
    choices = [*schedules(), load_table()["automatic"]]
    raise InvalidParameterError(
        message, hint=f"There are {', '.join(choices)}.", parameter="scheduler", choices=choices
    )


def _not_found(name: str, normalized: str, known: Collection[str]) -> SchedulerNotFoundError:
    """Return the error for an unknown name, with similar names."""
    choices = [*(alias.name for alias in scheduler_aliases()), *sorted(known)]
    reason = _unavailable_reason(normalized)
    if reason is not None:
        message = f"Scheduler {name!r} has no equivalent in diffusers{f': {reason}' if reason else ''}."
        hint = "Choose another scheduler; `octabox schedulers` lists them all."
        return SchedulerNotFoundError(message, hint=hint, parameter="scheduler", choices=choices)
    scheduled = (f"{each}_{schedule}" for each in _aliases() for schedule in schedules())
    like = nearest(normalized, [*_aliases(), *scheduled]) or nearest(name, sorted(known))
    hint = f"Did you mean {' or '.join(like)}?" if like else "`octabox schedulers` lists them all."
    return SchedulerNotFoundError(f"There is no scheduler {name!r}.", hint=hint, parameter="scheduler", choices=choices)


def _unavailable_reason(normalized: str) -> str | None:
    """Return why diffusers does not have a scheduler of another program, possibly empty; None if the name is unknown."""
    reasons = {name.replace("_", ""): reason or "" for name, reason in load_table()["unavailable"].items()}
    compact = normalized.replace("_", "")
    for schedule in ("", *sorted(_schedule_names(), key=len, reverse=True)):
        for prefix in ("", *(each.replace("_", "") for each in load_table()["prefix"])):
            bare = compact.removeprefix(prefix).removesuffix(schedule.replace("_", ""))
            if bare in reasons:
                return str(reasons[bare])
    return None


def parse_scheduler_choice(value: str | Mapping[str, Any] | None) -> SchedulerChoice | None:
    """Parse a scheduler choice: a name, or an object with the name and settings.

    Raises:
        InvalidParameterError: The object has no name.
    """
    if not value:
        return None
    if isinstance(value, str):
        return SchedulerChoice(value)
    name = value.get("name")
    if not isinstance(name, str) or not name:
        hint = 'Example: {"name": "euler", "use_karras_sigmas": true}.'
        raise InvalidParameterError("'scheduler' has no name.", hint=hint, parameter="scheduler")
    settings = {key: each for key, each in value.items() if key != "name"}
    if isinstance(nested := settings.get("settings"), Mapping):
        # The form of metadata and configurations.
        settings = {**settings, **nested}
        del settings["settings"]
    return SchedulerChoice(name, settings)
