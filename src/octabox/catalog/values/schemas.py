"""The JSON Schemas (2020-12) of the values of parameters."""

from __future__ import annotations

from typing import Any

from octabox.catalog.entries import Parameter
from octabox.catalog.reading.annotations import Shape, parse_annotation

#: JSON types by the kind of single values.
JSON_TYPES = {"text": "string", "integer": "integer", "number": "number", "boolean": "boolean", "mapping": "object"}

#: A file by its URL.
_FILE = ({"type": "string", "format": "uri"},)


def value_shape(parameter: Parameter) -> Shape:
    """Return the values that a parameter allows: by its annotation or, if that is open, by its kind."""
    shape = parse_annotation(parameter.annotation)
    if parameter.choices and not shape.choices:
        return Shape(none=shape.none, choices=parameter.choices)
    if shape.leaves or shape.choices or shape.items:
        return shape
    single = Shape(frozenset({parameter.kind}), none=shape.none) if parameter.kind in JSON_TYPES else shape
    return single | Shape(items=single) if parameter.many else single


def property_schema(parameter: Parameter) -> dict[str, Any]:
    """Return the JSON Schema of the values of a parameter."""
    if parameter.fields:
        schema = _record_schema(parameter)
    else:
        schema = _media_schema(parameter) if parameter.is_media else _value_schema(value_shape(parameter))
    if parameter.kind == "array":
        schema = {"anyOf": [*schema.get("anyOf", [schema]), *_FILE, _content("application/x-npy")]}
    if parameter.description:
        schema["description"] = parameter.description
    if not parameter.required and parameter.literal and parameter.default is not None:
        schema["default"] = parameter.default
    return schema


def _media_schema(parameter: Parameter) -> dict[str, Any]:
    """Return the schema of a file: its URL, or its content in base64; a video may be an array or a list of images too."""
    media = {"mask": "image"}.get(parameter.kind, parameter.kind)
    one: list[dict[str, Any]] = [*_FILE, _content(f"{media}/*")]
    if media == "video":
        one += [_content("application/x-npy"), {"type": "array", "items": {"anyOf": [*_FILE, _content("image/*")]}}]
    return {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}}] if parameter.many else one}


def _content(media_type: str) -> dict[str, Any]:
    """Return the schema of the content of a file in base64."""
    return {"type": "string", "contentEncoding": "base64", "contentMediaType": media_type}


def _value_schema(shape: Shape) -> dict[str, Any]:
    """Return the schema of a type; a tensor is nested lists of numbers."""
    options: list[dict[str, Any]] = [{"type": kind} for atom, kind in JSON_TYPES.items() if atom in shape.atoms]
    options += [{"enum": list(shape.choices)}] if shape.choices else []
    if shape.items is not None or "array" in shape.atoms:
        options.append(
            {"type": "array", **({"items": inner} if (inner := _value_schema(shape.items or Shape())) else {})}
        )
    if not options:
        return {}
    options += [{"type": "null"}] if shape.none else []
    return options[0] if len(options) == 1 else {"anyOf": options}


def _record_schema(parameter: Parameter) -> dict[str, Any]:
    """Return the schema of an object with fields."""
    one: dict[str, Any] = {
        "type": "object",
        "properties": {each.name: property_schema(each) for each in parameter.fields},
        "required": [each.name for each in parameter.fields if each.required],
        "additionalProperties": False,
    }
    return {"anyOf": [one, {"type": "array", "items": one}]} if parameter.many else one
