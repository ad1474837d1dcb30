"""Find the noise scheduler that a name means: a class of diffusers, or a name from ``schedulers.yaml``, and a schedule."""

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

#: The setting that names a schedule; no class has one of this name.
SCHEDULE = "schedule"

#: What stands between the words of a name.
BETWEEN = re.compile(r"[\s-]+")


@dataclass(frozen=True)
class SchedulerAlias:
    """A name of a noise scheduler.

    Args:
        name: The name.
        kind: The class that it means.
        settings: Settings of its constructor that it means.
        also: Other names for the same.
        automatic: Schedule that the web UI takes for it where none is named.
        nearly: What is not quite as the name says.
    """

    name: str
    kind: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    automatic: str | None = None
    caveat: str = ""


@dataclass(frozen=True)
class Schedule:
    """How the noise levels of a run's steps are spread.

    Args:
        name: Its name.
        settings: Settings of a scheduler's constructor that choose it.
        also: Other names for the same.
        timesteps: Timesteps that are written out, by the family of models that they are for.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    timesteps: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


class ResolvedScheduler(NamedTuple):
    """What a name means: a class, settings of its constructor, a schedule, and what is not quite as the name says."""

    kind: str
    settings: dict[str, Any]
    schedule: Schedule | None = None
    caveat: str = ""


@cache
def load_table() -> dict[str, Any]:
    """Return the table of names as the file has it."""
    text = Path(__file__).with_name("schedulers.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@cache
def scheduler_aliases() -> tuple[SchedulerAlias, ...]:
    """Return every name that is no class."""
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
    """Return every schedule by name."""
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


def resolve_scheduler(name: str, settings: Mapping[str, Any], known: Collection[str]) -> ResolvedScheduler:
    """Return what a name means, with the settings that were given beside it, which are the strongest.

    Args:
        name: A class, with or without ``Scheduler`` at its end, or another name; with a schedule behind it, or with ``k_``
            before it for Karras sigmas.
        settings: Settings that were given beside the name; ``schedule`` among them names a schedule.
        known: The scheduler classes that there are.

    Raises:
        SchedulerNotFoundError: Nothing has this name, or nothing that is installed, or nothing that diffusers has.
        InvalidParameterError: There is no such schedule.
    """
    spelled = _spelled(name)
    found = next(_readings(spelled, name, known), None)
    if found is None:
        raise _not_found(name, spelled, known)
    named, schedule = found
    if named.kind not in known:
        hint = "Install a diffusers that has it, or choose another scheduler."
        raise SchedulerNotFoundError(
            f"Scheduler {name!r} is {named.kind}, which is not installed.", hint=hint, parameter="scheduler"
        )
    given = dict(settings)
    wanted = given.pop(SCHEDULE, None)
    schedule = schedule if wanted is None else str(wanted)
    chosen = _schedule(schedule, named) if schedule is not None else None
    if any(given.get(flag) and not (chosen and chosen.settings.get(flag)) for flag in load_table()["exclusive"]):
        # A flag for another schedule is the stronger word.
        chosen = None
    implied = {**named.settings, **(chosen.settings if chosen else {})}
    return ResolvedScheduler(named.kind, {**implied, **given}, chosen, named.caveat)


def _spelled(name: str) -> str:
    """Return a name in lower case, with one underscore between words."""
    return BETWEEN.sub("_", name.strip().lower().replace("++", "pp"))


def _readings(spelled: str, name: str, known: Collection[str]) -> Iterator[tuple[SchedulerAlias, str | None]]:
    """Yield what a name can mean, the plainest first: a scheduler, and the schedule that is named with it."""
    if named := _named(name.strip(), spelled, known):
        yield named, None
    prefixes = load_table()["prefix"]
    for label, schedule in sorted(_labels().items(), key=lambda each: -len(each[0])):
        bare = spelled.removesuffix(f"_{label}")
        if bare != spelled:
            # What is named behind a name is stronger than the `k_` before it, which the web UI writes before every name.
            for inner in (bare, *(bare.removeprefix(prefix) for prefix in prefixes)):
                if named := _named(inner, inner, known):
                    yield named, schedule
    for prefix, schedule in prefixes.items():
        inner = spelled.removeprefix(prefix)
        if inner != spelled and (named := _named(inner, inner, known)):
            yield named, schedule


def _named(name: str, spelled: str, known: Collection[str]) -> SchedulerAlias | None:
    """Return what a name without a schedule means, if anything."""
    for kind in (name, f"{name}Scheduler"):
        if kind in known:
            return SchedulerAlias(kind, kind)
    if spelled in _spellings():
        return _spellings()[spelled]
    # Run together, `k_dpm_2` would be InvokeAI's `kdpm_2`, which has no Karras sigmas.
    is_prefixed = spelled.startswith(("_", *load_table()["prefix"]))
    together = spelled.replace("_", "")
    if not is_prefixed and together in _run_together():
        return _run_together()[together]
    kinds = {kind.lower(): kind for kind in known}
    found = kinds.get(together) or kinds.get(f"{together}scheduler")
    return SchedulerAlias(found, found) if found else None


@cache
def _spellings() -> Mapping[str, SchedulerAlias]:
    """Return every name and other name."""
    return {spelling: named for named in scheduler_aliases() for spelling in (named.name, *named.aliases)}


@cache
def _run_together() -> Mapping[str, SchedulerAlias]:
    """Return every name without underscores."""
    return {spelling.replace("_", ""): named for spelling, named in _spellings().items()}


@cache
def _labels() -> Mapping[str, str]:
    """Return the schedule by each of its names; what is there under no name of diffusers is there too, to be refused."""
    own = {label: schedule.name for schedule in schedules().values() for label in (schedule.name, *schedule.aliases)}
    other = dict.fromkeys([load_table()["automatic"], *load_table()["no_schedule"]], "")
    return own | {label: label for label in other}


def _schedule(name: str, named: SchedulerAlias) -> Schedule | None:
    """Return the schedule of a name; None where that is the scheduler's own."""
    spelled = _spelled(name)
    label = _labels().get(spelled) or _labels().get(spelled.replace("_", ""), "")
    if label == load_table()["automatic"]:
        if named.automatic is None:
            return None
        return schedules()[named.automatic]
    if label in schedules():
        return schedules()[label]
    is_known = label in load_table()["no_schedule"]
    message = f"Schedule {name!r} has no equivalent in diffusers." if is_known else f"There is no schedule {name!r}."
    choices = [*schedules(), load_table()["automatic"]]
    raise InvalidParameterError(
        message, hint=f"There are {', '.join(choices)}.", parameter="scheduler", choices=choices
    )


def _not_found(name: str, spelled: str, known: Collection[str]) -> SchedulerNotFoundError:
    """Return the error for a name that means nothing, with the names most like it."""
    choices = [*(named.name for named in scheduler_aliases()), *sorted(known)]
    reason = _absence(spelled)
    if reason is not None:
        message = f"Scheduler {name!r} has no equivalent in diffusers{f': {reason}' if reason else ''}."
        hint = "Choose another; `octabox schedulers` lists them all."
        return SchedulerNotFoundError(message, hint=hint, parameter="scheduler", choices=choices)
    scheduled = (f"{each}_{schedule}" for each in _spellings() for schedule in schedules())
    like = nearest(spelled, [*_spellings(), *scheduled]) or nearest(name, sorted(known))
    hint = f"Did you mean {' or '.join(like)}?" if like else "`octabox schedulers` lists them all."
    return SchedulerNotFoundError(f"There is no scheduler {name!r}.", hint=hint, parameter="scheduler", choices=choices)


def _absence(spelled: str) -> str | None:
    """Return why diffusers has no scheduler of a name, as far as there is more to say; None where no program knows it."""
    reasons = {name.replace("_", ""): reason or "" for name, reason in load_table()["unavailable"].items()}
    together = spelled.replace("_", "")
    for label in ("", *sorted(_labels(), key=len, reverse=True)):
        for prefix in ("", *(each.replace("_", "") for each in load_table()["prefix"])):
            bare = together.removeprefix(prefix).removesuffix(label.replace("_", ""))
            if bare in reasons:
                return str(reasons[bare])
    return None


def parse_scheduler_choice(given: str | Mapping[str, Any] | None) -> SchedulerChoice | None:
    """Return the scheduler that was asked for, by its name or by an object with its name and settings.

    Raises:
        InvalidParameterError: The object has no name.
    """
    if not given:
        return None
    if isinstance(given, str):
        return SchedulerChoice(given)
    name = given.get("name")
    if not isinstance(name, str) or not name:
        hint = 'Such as {"name": "euler", "use_karras_sigmas": true}.'
        raise InvalidParameterError("'scheduler' has no name.", hint=hint, parameter="scheduler")
    settings = {key: value for key, value in given.items() if key != "name"}
    if isinstance(nested := settings.get("settings"), Mapping):
        # As metadata and configurations write it.
        settings = {**settings, **nested}
        del settings["settings"]
    return SchedulerChoice(name, settings)
