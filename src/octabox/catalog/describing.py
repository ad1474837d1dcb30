"""Show an entry of the catalog as JSON has it."""

from __future__ import annotations

from typing import Any

from octabox.catalog.entries import PipelineEntry, SchedulerEntry, as_data
from octabox.catalog.needs import is_installed, needs_of


def described(entry: PipelineEntry | SchedulerEntry) -> dict[str, Any]:
    """Return an entry as JSON has it; a pipeline's output kind is there as ``output``."""
    if isinstance(entry, SchedulerEntry):
        return {
            **as_data(entry),
            "settings": [as_data(setting) for setting in entry.settings],
            "needs": [{**as_data(need), "installed": is_installed(need.module)} for need in entry.needs],
        }
    return {
        **as_data(entry),
        "parameters": [as_data(each) for each in entry.parameters],
        "components": [as_data(each) for each in entry.components],
        "outputs": [as_data(each) for each in entry.outputs],
        "sizes": [as_data(each) for each in entry.sizes],
        "needs": [{**as_data(need), "installed": is_installed(need.module)} for need in needs_of(entry)],
        "output": entry.output_kind,
    }
