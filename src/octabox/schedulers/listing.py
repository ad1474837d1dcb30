"""Show noise schedulers and their names as JSON has them."""

from __future__ import annotations

from typing import Any

from octabox.catalog.entries import SchedulerEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.serialization import entry_to_json
from octabox.schedulers.compatibility import check_settings
from octabox.schedulers.names import Schedule, resolve_scheduler, scheduler_aliases, schedules


def aliases_of(kind: str) -> tuple[str, ...]:
    """Return every name that means a class, beside its own."""
    return tuple(
        spelling for named in scheduler_aliases() if named.kind == kind for spelling in (named.name, *named.aliases)
    )


def supported_schedules(entry: SchedulerEntry) -> tuple[str, ...]:
    """Return the schedules that a class can follow."""
    return tuple(schedule.name for schedule in schedules().values() if _can_follow(entry, schedule))


def _can_follow(entry: SchedulerEntry, schedule: Schedule) -> bool:
    """Return whether a class can follow a schedule."""
    if schedule.timesteps:
        return entry.timesteps and entry.setting("beta_schedule") is not None
    return all(entry.setting(name) and name not in entry.unread for name in schedule.settings)


def summarize_scheduler(entry: SchedulerEntry) -> dict[str, Any]:
    """Return a scheduler as a row of a list."""
    return {
        "name": entry.name,
        "names": aliases_of(entry.name),
        "schedules": supported_schedules(entry),
        "description": entry.description,
    }


def list_schedules() -> list[dict[str, Any]]:
    """Return every schedule as a row of a list."""
    return [
        {"name": each.name, "names": each.aliases, "settings": each.settings, "timesteps": each.timesteps}
        for each in schedules().values()
    ]


def describe_scheduler(name: str, catalog: Catalog) -> dict[str, Any]:
    """Return all there is to say of a scheduler of any name: what it means, and every setting of its class.

    Raises:
        SchedulerNotFoundError: Nothing has this name.
        RequestError: The class has not what the name asks for.
    """
    meant = resolve_scheduler(name, {}, catalog.schedulers)
    entry = catalog.schedulers[meant.kind]
    check_settings(name, meant, entry, {})
    means = {
        "settings": meant.settings,
        "schedule": meant.schedule.name if meant.schedule else None,
        "nearly": meant.caveat or None,
    }
    return {**entry_to_json(entry), **summarize_scheduler(entry), "means": means}
