"""Show noise schedulers and their names as JSON has them."""

from __future__ import annotations

from typing import Any

from octabox.catalog.describing import described
from octabox.catalog.entries import SchedulerEntry
from octabox.catalog.pipelines import Catalog
from octabox.schedulers.compatibility import check_settings
from octabox.schedulers.names import Schedule, names, scheduler_of, schedules


def other_names(kind: str) -> tuple[str, ...]:
    """Return every name that means a class, beside its own."""
    return tuple(spelling for named in names() if named.kind == kind for spelling in (named.name, *named.also))


def schedules_of(entry: SchedulerEntry) -> tuple[str, ...]:
    """Return the schedules that a class can follow."""
    return tuple(schedule.name for schedule in schedules().values() if _can_follow(entry, schedule))


def _can_follow(entry: SchedulerEntry, schedule: Schedule) -> bool:
    """Return whether a class can follow a schedule."""
    if schedule.timesteps:
        return entry.timesteps and entry.setting("beta_schedule") is not None
    return all(entry.setting(name) and name not in entry.unread for name in schedule.settings)


def listed(entry: SchedulerEntry) -> dict[str, Any]:
    """Return a scheduler as a row of a list."""
    return {
        "name": entry.name,
        "names": other_names(entry.name),
        "schedules": schedules_of(entry),
        "description": entry.description,
    }


def schedule_rows() -> list[dict[str, Any]]:
    """Return every schedule as a row of a list."""
    return [
        {"name": each.name, "names": each.also, "settings": each.settings, "timesteps": each.timesteps}
        for each in schedules().values()
    ]


def shown(name: str, catalog: Catalog) -> dict[str, Any]:
    """Return all there is to say of a scheduler of any name: what it means, and every setting of its class.

    Raises:
        SchedulerNotFoundError: Nothing has this name.
        RequestError: The class has not what the name asks for.
    """
    meant = scheduler_of(name, {}, catalog.schedulers)
    entry = catalog.schedulers[meant.kind]
    check_settings(name, meant, entry, {})
    means = {
        "settings": meant.settings,
        "schedule": meant.schedule.name if meant.schedule else None,
        "nearly": meant.caveat or None,
    }
    return {**described(entry), **listed(entry), "means": means}
