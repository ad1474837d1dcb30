"""Add what a form needs to the JSON Schema of a model: bounds, multiples, default sizes, and a control for each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from octabox.catalog.conditions.ip_adapter import NAME_PART
from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.prompts.names import is_prompt
from octabox.service.bounds import STEPS, Limits
from octabox.service.forms.model_sizes import ModelSizes
from octabox.service.planning import OUTPUTS_PER_PROMPT

#: Keyword of JSON Schema for the hints of a parameter; names with ``x-`` are annotations that validators ignore.
KEYWORD = "x-octabox"

#: Groups of a form, in their order.
GROUPS = ("prompt", "media", "size", "sampling", "other")

SIZES = ("width", "height")

#: Controls by the kind of a parameter.
_CONTROLS: Mapping[str, str] = {
    "text": "text",
    "choice": "choice",
    "boolean": "switch",
    "integer": "number",
    "number": "number",
    "image": "image",
    "mask": "mask",
    "video": "video",
    "audio": "audio",
    "array": "array",
}


def add_form_hints(schema: dict[str, Any], entry: PipelineEntry, sizes: ModelSizes, limits: Limits) -> dict[str, Any]:
    """Return a schema whose properties have bounds, and a group, an order and a control under ``x-octabox``.

    Args:
        schema: The JSON Schema of the call parameters.
        entry: The pipeline class.
        sizes: The sizes of the model.
        limits: Limits of a request.
    """
    properties: dict[str, Any] = {}
    for name, each in schema["properties"].items():
        parameter = entry.parameter(name)
        bounded = {**each, **_bounds(entry, name, sizes, limits)}
        if name in SIZES and "default" not in each and (side := sizes.default_side()):
            # It is not "default": without a size an image that comes in may decide.
            bounded["examples"] = [side]
        properties[name] = {**bounded, KEYWORD: _hints(parameter, bounded, len(properties))} if parameter else bounded
    return {**schema, "properties": properties}


def _bounds(entry: PipelineEntry, name: str, sizes: ModelSizes, limits: Limits) -> dict[str, Any]:
    """Return the bounds of a number: those of its class, its multiples, and the limits of a request."""
    parameter = entry.parameter(name)
    bounds: dict[str, Any] = dict(parameter.range.to_json_schema()) if parameter else {}
    frames = entry.frames
    if STEPS.fullmatch(name):
        bounds = {"minimum": 1, "maximum": limits.steps, **bounds}
    elif frames is not None and name == frames.name:
        bounds = {"minimum": 1, "maximum": limits.frames, **bounds}
    elif name in SIZES and parameter is not None and parameter.kind == "integer":
        bounds = {"minimum": 1, **bounds}
    rule = next((rule for rule in entry.sizes if name in rule.parameters), None)
    multiple = sizes.multiple(rule) if rule else None
    if rule is not None and multiple is not None and multiple > 1:
        if rule.offset or rule.rounded:
            # JSON Schema has no keyword for multiples from an offset, and none for those to which others are rounded.
            return {**bounds, "x-multiple-of": multiple, "x-offset": rule.offset}
        bounds = {**bounds, "multipleOf": multiple}
        bounds["minimum"] = max(bounds.get("minimum", 1), multiple)
    return bounds


def _hints(parameter: Parameter, schema: Mapping[str, Any], order: int) -> dict[str, Any]:
    """Return the group, the order and the control of a parameter, and whether few requests set it."""
    control = control_of(parameter, schema)
    group = _group(parameter, control)
    # What a request states by itself, whatever the pipeline calls it.
    same = {"same_as": "num_outputs"} if OUTPUTS_PER_PROMPT.fullmatch(parameter.name) else {}
    return {
        **same,
        "group": group,
        "order": GROUPS.index(group) * 1000 + order,
        "control": control,
        "many": parameter.many,
        "advanced": _is_advanced(parameter, control, schema),
    }


def control_of(parameter: Parameter, schema: Mapping[str, Any]) -> str:
    """Return the control of a parameter by its kind, its name and its bounds."""
    if parameter.kind == "text" and is_prompt(parameter.name):
        return "prompt"
    if parameter.name in SIZES and parameter.kind == "integer":
        return "size"
    if parameter.many and not parameter.is_file and parameter.kind != "text":
        return "json"
    control = _CONTROLS.get(parameter.kind, "json")
    has_range = {"minimum", "maximum"} <= schema.keys()
    return "slider" if control == "number" and has_range else control


def _group(parameter: Parameter, control: str) -> str:
    """Return the group of a parameter."""
    if control == "prompt":
        return "prompt"
    if parameter.is_media:
        return "media"
    if control == "size" or "frames" in parameter.name or parameter.name == "fps":
        return "size"
    return "sampling" if control in ("number", "slider", "switch", "choice") else "other"


def _is_advanced(parameter: Parameter, control: str, schema: Mapping[str, Any]) -> bool:
    """Return whether a form may hide a parameter at first: few requests set it, and there is another way for most of them."""
    if parameter.required or control in ("size", "choice"):
        return False
    if control == "prompt":
        # A second prompt is for the second text encoder, which has the first prompt otherwise.
        return parameter.name[-1:].isdigit()
    if parameter.is_media:
        # Of use to models with IP-Adapters alone.
        return NAME_PART in parameter.name
    return control in ("array", "json", "text", "switch") or "default" not in schema
