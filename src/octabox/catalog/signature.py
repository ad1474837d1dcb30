"""The parameters of a request to a pipeline: their JSON Schema, and their validation with all errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Sized
from types import MappingProxyType
from typing import Any

from octabox.catalog.entries import INTERNAL_KINDS, Parameter, PipelineEntry
from octabox.catalog.reading.annotations import Shape
from octabox.catalog.values.records import check_records, missing_fields, shorten
from octabox.catalog.values.schemas import JSON_TYPES, property_schema, value_shape
from octabox.errors import (
    InvalidParameterError,
    InvalidRequestError,
    MissingParameterError,
    RequestError,
    UnknownParameterError,
    nearest,
)

#: Hints for parameters that Octabox sets itself, by kind or name.
HINTS = {
    "generator": "Set a seed.",
    "callback": "Request progress or a stream.",
    "output_type": "Set the output format.",
    "internal": "Remove it.",
    "path": "Send the file by another parameter.",
}

#: Kinds of single values in words, for messages.
WORDS = {
    "text": "text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "mapping": "an object",
}


def settable_parameters(entry: PipelineEntry) -> tuple[Parameter, ...]:
    """Return the parameters that a request may set."""
    return tuple(parameter for parameter in entry.parameters if parameter.kind not in INTERNAL_KINDS)


def json_schema(entry: PipelineEntry) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the parameters of a request."""
    parameters = settable_parameters(entry)
    grouped = {name for group in entry.one_of if len(group) > 1 for name in group}
    required = [each.name for each in parameters if each.required and each.name not in grouped]
    required += [group[0] for group in entry.one_of if len(group) == 1 and group[0] not in required]
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": entry.name,
        "description": entry.description,
        "type": "object",
        "properties": {parameter.name: property_schema(parameter) for parameter in parameters},
        "required": required,
        "additionalProperties": False,
    }
    choices = [{"anyOf": [{"required": [name]} for name in group]} for group in entry.one_of if len(group) > 1]
    return {**schema, "allOf": choices} if choices else schema


def validate(
    entry: PipelineEntry,
    params: Mapping[str, object],
    files: Mapping[str, Sized] = MappingProxyType({}),
    siblings: Sequence[PipelineEntry] = (),
) -> dict[str, Any]:
    """Validate the parameters of a request, and return them in the types of the pipeline.

    Args:
        entry: The pipeline.
        params: Parameters of the request.
        files: Files of the request by parameter: one, or several for a list. Their content is not checked.
        siblings: Other pipelines of the model, whose parameters are suggested with their tasks.

    Raises:
        UnknownParameterError: The pipeline has no such parameter, or Octabox sets it itself.
        InvalidParameterError: A value has the wrong type, or is a number that the class of the pipeline refuses.
        MissingParameterError: A required parameter is missing.
        InvalidRequestError: There are several errors.
    """
    problems: list[RequestError] = []
    checked: dict[str, Any] = {}
    for name, value in params.items():
        parameter = entry.parameter(name)
        try:
            if parameter is None or parameter.kind in INTERNAL_KINDS:
                raise _unknown(entry, name, parameter, siblings)
            checked[name] = check_value(parameter, value)
        except RequestError as problem:
            problems.append(problem)
    problems += _wrong_files(entry, files, siblings)
    problems += missing_fields(entry.parameters, params, files)
    problems += _missing(entry, {*files, *(name for name, value in params.items() if value is not None)})
    if len(problems) > 1:
        raise InvalidRequestError(problems)
    if problems:
        raise problems[0]
    return checked


def check_value(parameter: Parameter, value: object) -> Any:
    """Validate a value, and return it in the type of the parameter: 8.0 becomes 8 for an integer.

    None is passed on for any optional parameter, whatever its default.
    """
    shape = value_shape(parameter)
    if value is None:
        if shape.none or not parameter.required or shape == Shape():
            return None
    elif parameter.is_media:
        return value
    elif parameter.fields:
        return check_records(parameter, value, check_value)
    else:
        try:
            converted = _convert(value, shape)
        except ValueError:
            pass
        else:
            _check_range(parameter, converted)
            return converted
    expected = _in_words(shape)
    choices = tuple(str(choice) for choice in shape.choices)
    raise InvalidParameterError(
        f"{parameter.name} must be {expected}, not {shorten(value)}.", parameter=parameter.name, choices=choices
    )


def _check_range(parameter: Parameter, value: object) -> None:
    """Check that a number is one that the class of the pipeline does not refuse; lists are left to the pipeline.

    Raises:
        InvalidParameterError: It is outside the range.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or parameter.range.documented:
        return
    if not parameter.range.contains(value):
        message = f"'{parameter.name}' must be {parameter.range.describe()}, not {value}."
        raise InvalidParameterError(message, parameter=parameter.name)


def is_one_each(parameter: Parameter) -> bool:
    """Return whether a list of texts has one text for each prompt: a single text is accepted too."""
    shape = value_shape(parameter)
    return parameter.kind == "text" and "text" in shape.atoms


def takes_numbers(parameter: Parameter) -> bool:
    """Return whether an array parameter also accepts numbers or lists of numbers as they are."""
    return bool({"integer", "number"} & value_shape(parameter).leaves)


def _convert(value: object, shape: Shape) -> Any:
    """Convert a value to a type; raise ValueError if it does not fit."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(value)
    if value in shape.choices or (value is None and shape.none):
        return value
    is_open = not (shape.atoms or shape.choices or shape.items)
    if isinstance(value, list | tuple):
        return _convert_list(value, shape, is_open=is_open)
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


def _convert_list(value: list[Any] | tuple[Any, ...], shape: Shape, *, is_open: bool) -> list[Any]:
    if shape.items is not None:
        return [_convert(item, shape.items) for item in value]
    if is_open or shape.atoms - JSON_TYPES.keys():
        return [_convert(item, Shape()) for item in value]
    raise ValueError(value)


def _unknown(
    entry: PipelineEntry, name: str, parameter: Parameter | None, siblings: Sequence[PipelineEntry]
) -> UnknownParameterError:
    """Return the error for a parameter that the pipeline does not have, or that Octabox sets."""
    known = [each.name for each in settable_parameters(entry)]
    if parameter is not None:
        hint = HINTS.get(name) or HINTS[parameter.kind]
        reason = (
            "is a path on the server, which a request cannot set" if parameter.kind == "path" else "is set by Octabox"
        )
        return UnknownParameterError(f"{name} {reason}.", hint=hint, parameter=name, choices=known)
    tasks = {each.name: sibling.tasks[:1] for sibling in reversed(siblings) for each in settable_parameters(sibling)}
    if tasks.get(name):
        hint = f"It is a parameter of the task {tasks[name][0]}."
    else:
        # Those of the class itself are without a task.
        tasks |= dict.fromkeys(known, ())
        like = [f"{each} (of {tasks[each][0]})" if tasks[each] else each for each in nearest(name, [*known, *tasks])]
        hint = f"Did you mean {' or '.join(like)}?" if like else f"It takes: {', '.join(known)}."
    return UnknownParameterError(f"{entry.name} has no parameter {name!r}.", hint=hint, parameter=name, choices=known)


def _wrong_files(
    entry: PipelineEntry, files: Mapping[str, Sized], siblings: Sequence[PipelineEntry]
) -> Iterator[RequestError]:
    """Yield an error for each file of a parameter that is unknown or takes no file, and for several files instead of one."""
    for name, values in files.items():
        parameter = entry.parameter(name)
        if parameter is None or parameter.kind in INTERNAL_KINDS:
            yield _unknown(entry, name, parameter, siblings)
        elif not parameter.is_file:
            yield InvalidParameterError(
                f"{name} must be {_in_words(value_shape(parameter))}, not a file.", parameter=name
            )
        elif len(values) > 1 and not parameter.many and parameter.kind != "video":
            # Several images are the frames of one video, which is known once they are decoded.
            message = f"{name} takes one {parameter.kind}, not {len(values)}."
            yield InvalidParameterError(message, hint="Send one file in each request.", parameter=name)


def _missing(entry: PipelineEntry, present: set[str]) -> Iterator[MissingParameterError]:
    """Yield an error for each required parameter that is missing, and for each group without any parameter."""
    groups = [group for group in entry.one_of if len(group) > 1]
    grouped = {name for group in groups for name in group}
    alone = [
        parameter.name
        for parameter in settable_parameters(entry)
        if parameter.required and parameter.name not in grouped
    ]
    alone += [group[0] for group in entry.one_of if len(group) == 1 and group[0] not in alone]
    for name in alone:
        if name not in present:
            yield MissingParameterError(f"{entry.name} needs {name}.", hint=f"Set {name}.", parameter=name)
    for group in groups:
        if not present.intersection(group):
            names = sorted(group, key=lambda name: (len(name), name))
            yield MissingParameterError(
                f"{entry.name} needs {' or '.join(names)}.", hint=f"Set {names[0]}.", parameter=names[0], choices=names
            )


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
