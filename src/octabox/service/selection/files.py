"""Split the files of a request from its other parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from octabox.catalog.entries import Parameter
from octabox.catalog.signature import takes_numbers
from octabox.catalog.values.records import field_name
from octabox.errors import InvalidParameterError
from octabox.service.selection.inputs import ARTICLES
from octabox.types import GenerationRequest, Source

#: The inputs of a request by call parameter: files, or nested lists of numbers.
Files = Mapping[str, tuple[Source | list[Any], ...]]


def split_files(request: GenerationRequest, known: Mapping[str, Parameter]) -> tuple[dict[str, Any], Files]:
    """Split files, which may be text or lists of numbers, from the other parameters of a request.

    Args:
        request: The request.
        known: Parameters that may be files, or have fields that may, by name.

    Raises:
        InvalidParameterError: A value is not a file, or a file is given twice.
    """
    params = dict(request.params)
    files: dict[str, tuple[Source | list[Any], ...]] = {name: tuple(each) for name, each in request.inputs.items()}
    for name in sorted(known.keys() & params.keys()):
        value, parameter = params[name], known[name]
        if value is None:
            # A null must not exclude classes that do not have this parameter.
            del params[name]
            continue
        if parameter.fields:
            params[name] = _split_fields(value, parameter, files)
        elif _may_be_file(value, parameter):
            del params[name]
            _add_file(files, name, value, parameter)
    return params, files


def _split_fields(value: Any, parameter: Parameter, files: dict[str, tuple[Source | list[Any], ...]]) -> Any:
    """Return the objects of a parameter without the files in their fields, which are added to ``files``."""
    fields = {each.name: each for each in parameter.fields if each.is_file}
    records = [
        dict(each) if isinstance(each, Mapping) else each for each in (value if isinstance(value, list) else [value])
    ]
    for index, record in enumerate(records):
        for name in sorted(fields.keys() & record.keys()) if isinstance(record, dict) else ():
            content, field = record[name], replace(fields[name], name=field_name(parameter.name, index, name))
            if content is None:
                del record[name]
            elif _may_be_file(content, field):
                del record[name]
                _add_file(files, field.name, content, field)
    return records if isinstance(value, list) else records[0]


def _may_be_file(value: Any, parameter: Parameter) -> bool:
    return parameter.is_media or _is_array(value, parameter)


def _add_file(files: dict[str, tuple[Source | list[Any], ...]], name: str, value: Any, parameter: Parameter) -> None:
    """Add the files of a value."""
    if name in files:
        raise InvalidParameterError(
            f"'{name}' is both a file and a parameter.", hint="Give one of them.", parameter=name
        )
    if parameter.is_media:
        files[name] = _sources(value, parameter)
    else:
        files[name] = tuple(value) if isinstance(value, list) and _all_text(value) else (value,)


def _is_array(value: Any, parameter: Parameter) -> bool:
    """Return whether a value is an array, as a file or as nested lists; some parameters take lists of numbers."""
    if isinstance(value, str | bytes) or (isinstance(value, list) and _all_text(value)):
        return True
    return isinstance(value, list) and not takes_numbers(parameter)


def _all_text(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, str | bytes) for value in values)


def _is_source(value: Any, parameter: Parameter) -> bool:
    """Return whether a value is a file, or a list of files in which some may be null."""
    if isinstance(value, list):
        return parameter.many and bool(value) and all(each is None or _is_source(each, parameter) for each in value)
    return isinstance(value, str | bytes)


def _sources(value: Any, parameter: Parameter) -> tuple[Source, ...]:
    """Return the files of a value; a list of one stays a list if the parameter takes lists, which may be nested.

    Raises:
        InvalidParameterError: The value is not a file.
    """
    sources = tuple(value) if isinstance(value, list | tuple) else (value,)
    if parameter.many and isinstance(value, list) and len(value) == 1:
        sources = (value,)
    if not sources or not all(_is_source(source, parameter) for source in sources):
        raise InvalidParameterError(
            f"'{parameter.name}' must be {ARTICLES[parameter.kind]}, not {str(value)[:60]}.",
            hint="Give base64, a data URI or an http(s) URL, or a list of them.",
            parameter=parameter.name,
        )
    return sources
