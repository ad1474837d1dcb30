"""Build the instances of dataclasses that a pipeline takes, such as the frames that condition a video."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.catalog.reading.annotations import parse_annotation
from octabox.catalog.values.records import field_name, records_of


def build_records(entry: PipelineEntry, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call with an instance for each object.

    Args:
        entry: The pipeline.
        arguments: Arguments of the call, with converted media under names such as ``conditions.0.frames``.
    """
    built = {name: value for name, value in arguments.items() if "." not in name}
    for parameter in entry.parameters:
        records = records_of(parameter, arguments, arguments) if parameter.record else []
        if not records:
            continue
        module, _, name = parameter.record.rpartition(".")
        kind = getattr(import_module(module), name)
        found = [kind(**_values(parameter, index, record, arguments)) for index, record in enumerate(records)]
        is_list = isinstance(arguments.get(parameter.name), list) or len(found) > 1
        built[parameter.name] = found if is_list else found[0]
    return built


def _values(
    parameter: Parameter, index: int, record: Mapping[str, Any], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of one object; a video of one frame is an image where the field takes one."""
    values = dict(record)
    for field in parameter.fields:
        name = field_name(parameter.name, index, field.name)
        if name in arguments:
            medium = arguments[name]
            takes_image = "image" in parse_annotation(field.annotation).atoms
            is_frame = field.kind == "video" and isinstance(medium, list) and len(medium) == 1
            values[field.name] = medium[0] if is_frame and takes_image else medium
    return values
