"""Describe noise schedulers and their names as JSON."""

from __future__ import annotations

from typing import Any

from octabox.catalog.entries import SchedulerEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.serialization import entry_to_json
from octabox.schedulers.compatibility import check_settings
from octabox.schedulers.names import Schedule, resolve_scheduler, scheduler_aliases, schedules


def aliases_of(class_name: str) -> tuple[str, ...]:
    """Return all aliases of a scheduler class."""
    return tuple(
        name for alias in scheduler_aliases() if alias.kind == class_name for name in (alias.name, *alias.aliases)
    )


def supported_schedules(entry: SchedulerEntry) -> tuple[str, ...]:
    """Return the schedules that a scheduler class supports."""
    return tuple(schedule.name for schedule in schedules().values() if _supports(entry, schedule))


def _supports(entry: SchedulerEntry, schedule: Schedule) -> bool:
    """Return whether a scheduler class supports a schedule."""
    if schedule.timesteps:
        return entry.timesteps and entry.setting("beta_schedule") is not None
    return all(entry.setting(name) and name not in entry.unread for name in schedule.settings)


def summarize_scheduler(entry: SchedulerEntry) -> dict[str, Any]:
    """Return the summary of a scheduler, for a list."""
    return {
        "name": entry.name,
        "names": aliases_of(entry.name),
        "variants": [
            {"name": each.name, "settings": dict(each.settings)}
            for each in scheduler_aliases()
            if each.kind == entry.name
        ],
        "schedules": supported_schedules(entry),
        "description": entry.description,
    }


def list_schedules() -> list[dict[str, Any]]:
    """Return all schedules, for a list."""
    return [
        {"name": each.name, "names": each.aliases, "settings": each.settings, "timesteps": each.timesteps}
        for each in schedules().values()
    ]


def describe_scheduler(name: str, catalog: Catalog) -> dict[str, Any]:
    """Return the full description of a scheduler by any name: its class, and the settings of the name.

    Raises:
        SchedulerNotFoundError: No scheduler has this name.
        RequestError: The class has no setting that the name requires.
    """
    scheduler = resolve_scheduler(name, {}, catalog.schedulers)
    entry = catalog.schedulers[scheduler.kind]
    check_settings(name, scheduler, entry, {})
    means = {
        "settings": scheduler.settings,
        "schedule": scheduler.schedule.name if scheduler.schedule else None,
        "nearly": scheduler.caveat or None,
    }
    return {**entry_to_json(entry), **summarize_scheduler(entry), "means": means}
