"""Serialize catalog entries to JSON."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from octabox.catalog.dependencies import dependencies_of, is_installed
from octabox.catalog.entries import (
    Component,
    Dependency,
    Field,
    Parameter,
    PipelineEntry,
    SchedulerEntry,
    SizeRule,
)


def entry_to_json(entry: PipelineEntry | SchedulerEntry) -> dict[str, Any]:
    """Return an entry as a JSON object; the output kind of a pipeline is under ``output``."""
    if isinstance(entry, SchedulerEntry):
        return {
            **to_dict(entry),
            "settings": [_parameter(setting) for setting in entry.settings],
            "step_settings": [_parameter(setting) for setting in entry.step_settings],
            "needs": [{**to_dict(need), "installed": is_installed(need.module)} for need in entry.needs],
        }
    return {
        **to_dict(entry),
        "attributes": dict(entry.attributes),
        "parameters": [_parameter(each) for each in entry.parameters],
        "components": [to_dict(each) for each in entry.components],
        "outputs": [to_dict(each) for each in entry.outputs],
        "sizes": [to_dict(each) for each in entry.sizes],
        "needs": [{**to_dict(need), "installed": is_installed(need.module)} for need in dependencies_of(entry)],
        "output": entry.output_kind,
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    """Return a parameter; its range is there by the keywords of JSON Schema, if it has one."""
    described = to_dict(parameter)
    del described["range"]
    described["fields"] = [_parameter(each) for each in parameter.fields]
    return {**described, **parameter.range.to_json_schema()}


def to_dict(
    entry: Parameter | Component | Field | Dependency | SizeRule | PipelineEntry | SchedulerEntry,
) -> dict[str, Any]:
    """Return the fields of an entry by name; nested entries are not converted, which is much faster."""
    return {name: getattr(entry, name) for name in FIELDS[type(entry)]}


#: Names of the fields of each class.
FIELDS = {
    kind: tuple(each.name for each in fields(kind))
    for kind in (Parameter, Component, Field, Dependency, SizeRule, PipelineEntry, SchedulerEntry)
}
