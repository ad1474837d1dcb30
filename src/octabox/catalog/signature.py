"""What a request may say to a pipeline: as JSON Schema, and as a check that names all that is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sized
from types import MappingProxyType
from typing import Any

from octabox.catalog.entries import INTERNAL_KINDS, Parameter, PipelineEntry
from octabox.catalog.reading.annotations import Shape, parse_annotation
from octabox.errors import (
    InvalidParameterError,
    InvalidRequestError,
    MissingParameterError,
    RequestError,
    UnknownParameterError,
    nearest,
)

#: What to use in place of a parameter that Octabox sets itself, by its kind or its name.
INSTEAD = {
    "generator": "Give a seed.",
    "callback": "Ask for progress, or for a stream.",
    "output_type": "Give the format of the output.",
}

#: JSON's types by the words for single values.
JSON_TYPES = {"text": "string", "integer": "integer", "number": "number", "boolean": "boolean", "mapping": "object"}

#: How a sentence calls them.
WORDS = {
    "text": "text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "mapping": "an object",
}


def settable_parameters(entry: PipelineEntry) -> tuple[Parameter, ...]:
    """Return the parameters that a request may give."""
    return tuple(parameter for parameter in entry.parameters if parameter.kind not in INTERNAL_KINDS)


def json_schema(entry: PipelineEntry) -> dict[str, Any]:
    """Return what a request may say, as JSON Schema (2020-12)."""
    parameters = settable_parameters(entry)
    grouped = {name for group in entry.one_of if len(group) > 1 for name in group}
    required = [each.name for each in parameters if each.required and each.name not in grouped]
    required += [group[0] for group in entry.one_of if len(group) == 1 and group[0] not in required]
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": entry.name,
        "description": entry.description,
        "type": "object",
        "properties": {parameter.name: _property(parameter) for parameter in parameters},
        "required": required,
        "additionalProperties": False,
    }
    choices = [{"anyOf": [{"required": [name]} for name in group]} for group in entry.one_of if len(group) > 1]
    return {**schema, "allOf": choices} if choices else schema


def validate(
    entry: PipelineEntry, params: Mapping[str, object], files: Mapping[str, Sized] = MappingProxyType({})
) -> dict[str, Any]:
    """Return the parameters as the pipeline takes them.

    Args:
        entry: The pipeline.
        params: What a request says.
        files: What it brings as files, by parameter: one, or several where a list is taken. What they hold is not looked at.

    Raises:
        UnknownParameterError: The pipeline has no such parameter, or Octabox sets it itself.
        InvalidParameterError: A value is of the wrong type.
        MissingParameterError: A parameter that the call needs is not there.
        InvalidRequestError: Several of these at once.
    """
    problems: list[RequestError] = []
    checked: dict[str, Any] = {}
    for name, value in params.items():
        parameter = entry.parameter(name)
        try:
            if parameter is None or parameter.kind in INTERNAL_KINDS:
                raise _unknown(entry, name, parameter)
            checked[name] = check_value(parameter, value)
        except RequestError as problem:
            problems.append(problem)
    problems += _wrong_files(entry, files)
    problems += _missing(entry, {*files, *(name for name, value in params.items() if value is not None)})
    if len(problems) > 1:
        raise InvalidRequestError(problems)
    if problems:
        raise problems[0]
    return checked


def check_value(parameter: Parameter, value: object) -> Any:
    """Return a value as the parameter takes it: an integer stays one, 8.0 becomes one where one is needed."""
    shape = _shape(parameter)
    if value is None:
        if shape.none or (not parameter.required and parameter.default is None) or shape == Shape():
            return None
    elif parameter.is_media:
        return value
    else:
        try:
            return _fitted(value, shape)
        except ValueError:
            pass
    words = _in_words(shape)
    choices = tuple(str(choice) for choice in shape.choices)
    raise InvalidParameterError(
        f"{parameter.name} must be {words}, not {_shown(value)}.", parameter=parameter.name, choices=choices
    )


def is_one_each(parameter: Parameter) -> bool:
    """Return whether a list of texts means one for each prompt: a single text is taken too."""
    shape = _shape(parameter)
    return parameter.kind == "text" and "text" in shape.atoms


def takes_numbers(parameter: Parameter) -> bool:
    """Return whether a parameter that takes an array takes plain numbers or lists of them as they are, too."""
    return bool({"integer", "number"} & _shape(parameter).leaves)


def _shape(parameter: Parameter) -> Shape:
    """Return what a parameter allows: by its annotation, or by its kind where that says nothing."""
    shape = parse_annotation(parameter.annotation)
    if parameter.choices and not shape.choices:
        return Shape(none=shape.none, choices=parameter.choices)
    if shape.leaves or shape.choices or shape.items:
        return shape
    single = Shape(frozenset({parameter.kind}), none=shape.none) if parameter.kind in JSON_TYPES else shape
    return single | Shape(items=single) if parameter.many else single


def _fitted(value: object, shape: Shape) -> Any:
    """Return a value as the type takes it, or raise ValueError."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(value)
    if value in shape.choices or (value is None and shape.none):
        return value
    is_open = not (shape.atoms or shape.choices or shape.items)
    if isinstance(value, list | tuple):
        return _fitted_list(value, shape, is_open=is_open)
    fits = {
        bool: {"boolean"},
        int: {"integer", "number"},
        float: {"number"},
        str: {"text"},
        dict: {"mapping"},
    }.get(type(value), shape.atoms - JSON_TYPES.keys())
    if is_open or fits & shape.atoms:
        return value
    if isinstance(value, float) and value.is_integer() and "integer" in shape.atoms:
        return int(value)
    raise ValueError(value)


def _fitted_list(value: list[Any] | tuple[Any, ...], shape: Shape, *, is_open: bool) -> list[Any]:
    if shape.items is not None:
        return [_fitted(item, shape.items) for item in value]
    if is_open or shape.atoms - JSON_TYPES.keys():
        return [_fitted(item, Shape()) for item in value]
    raise ValueError(value)


def _unknown(entry: PipelineEntry, name: str, parameter: Parameter | None) -> UnknownParameterError:
    known = [each.name for each in settable_parameters(entry)]
    if parameter is not None:
        hint = INSTEAD.get(name) or INSTEAD.get(parameter.kind, "Leave it out.")
        return UnknownParameterError(f"{name} is set by Octabox.", hint=hint, parameter=name, choices=known)
    like = nearest(name, known)
    hint = f"Did you mean {' or '.join(like)}?" if like else f"It takes: {', '.join(known)}."
    return UnknownParameterError(f"{entry.name} has no parameter {name!r}.", hint=hint, parameter=name, choices=known)


def _wrong_files(entry: PipelineEntry, files: Mapping[str, Sized]) -> Iterator[RequestError]:
    """Yield an error for each file that no parameter takes, or only as a value, and for several where one is taken."""
    for name, given in files.items():
        parameter = entry.parameter(name)
        if parameter is None or parameter.kind in INTERNAL_KINDS:
            yield _unknown(entry, name, parameter)
        elif not parameter.is_file:
            yield InvalidParameterError(f"{name} must be {_in_words(_shape(parameter))}, not a file.", parameter=name)
        elif len(given) > 1 and not parameter.many:
            message = f"{name} takes one {parameter.kind}, not {len(given)}."
            yield InvalidParameterError(message, hint="Send the others in requests of their own.", parameter=name)


def _missing(entry: PipelineEntry, given: set[str]) -> Iterator[MissingParameterError]:
    """Yield an error for each parameter, and for each group of them, of which none was given."""
    groups = [group for group in entry.one_of if len(group) > 1]
    grouped = {name for group in groups for name in group}
    alone = [
        parameter.name
        for parameter in settable_parameters(entry)
        if parameter.required and parameter.name not in grouped
    ]
    alone += [group[0] for group in entry.one_of if len(group) == 1 and group[0] not in alone]
    for name in alone:
        if name not in given:
            yield MissingParameterError(f"{entry.name} needs {name}.", hint=f"Give {name}.", parameter=name)
    for group in groups:
        if not given.intersection(group):
            names = sorted(group, key=lambda name: (len(name), name))
            yield MissingParameterError(
                f"{entry.name} needs {' or '.join(names)}.", hint=f"Give {names[0]}.", parameter=names[0], choices=names
            )


def _property(parameter: Parameter) -> dict[str, Any]:
    schema = _media_schema(parameter) if parameter.is_media else _value_schema(_shape(parameter))
    if parameter.kind == "array":
        schema = {"anyOf": [*schema.get("anyOf", [schema]), *_FILE, _content("application/x-npy")]}
    if parameter.description:
        schema["description"] = parameter.description
    if not parameter.required and parameter.literal and parameter.default is not None:
        schema["default"] = parameter.default
    return schema


def _media_schema(parameter: Parameter) -> dict[str, Any]:
    """Return the schema of a file: the address of one, or its content in base64."""
    media = {"mask": "image"}.get(parameter.kind, parameter.kind)
    one: list[dict[str, Any]] = [*_FILE, _content(f"{media}/*")]
    return {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}}] if parameter.many else one}


#: A file by its address.
_FILE = ({"type": "string", "format": "uri"},)


def _content(media_type: str) -> dict[str, Any]:
    """Return the schema of a file's content in base64."""
    return {"type": "string", "contentEncoding": "base64", "contentMediaType": media_type}


def _value_schema(shape: Shape) -> dict[str, Any]:
    """Return the schema of what a type allows; that of a tensor is nested lists of numbers."""
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


def _in_words(shape: Shape) -> str:
    if shape.choices:
        return "one of " + ", ".join(repr(choice) for choice in shape.choices)
    words = [
        phrase
        for atom, phrase in WORDS.items()
        if atom in shape.atoms and not (atom == "integer" and "number" in shape.atoms)
    ]
    if shape.items is not None:
        inner = _in_words(shape.items).removeprefix("an ").removeprefix("a ")
        words.append("a list" if inner == "something else" else f"a list of {inner}{'' if inner == 'text' else 's'}")
    if shape.atoms & {"array"}:
        words.append("an array of numbers")
    return " or ".join(words) or "something else"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 (a line's worth)
