"""Values that are instances of a dataclass, such as the frames that condition a video, and where: objects in a request.

Files in their fields are inputs of the request with names such as ``conditions.0.frames``: the parameter, the position in its
list, and the field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from octabox.catalog.entries import Parameter
from octabox.errors import InvalidParameterError, MissingParameterError, UnknownParameterError, nearest

#: Most values of one parameter that files alone make.
MOST = 100


def field_name(parameter: str, index: int, field: str) -> str:
    """Return the name of a field of a value of a parameter."""
    return f"{parameter}.{index}.{field}"


def records_of(parameter: Parameter, params: Mapping[str, Any], files: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return the values of a parameter in a request, as many as it has objects or files for.

    Args:
        parameter: The parameter.
        params: Parameters of the request; values of other types are left out.
        files: Names of the files of the request.
    """
    value = params.get(parameter.name)
    records = [dict(each) for each in (value if isinstance(value, list) else [value]) if isinstance(each, Mapping)]
    parts = [name.split(".") for name in files if name.startswith(f"{parameter.name}.")]
    length = max((int(part[1]) + 1 for part in parts if part[1].isdecimal()), default=0)
    return records + [{} for _ in range(min(length, MOST) - len(records))]


def shorten(value: object) -> str:
    """Return a value for a message, on one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 (one line)


def check_records(parameter: Parameter, value: object, check: Callable[[Parameter, object], Any]) -> Any:
    """Return the value of a parameter with fields, checked: an object, or a list of them.

    Args:
        parameter: The parameter.
        value: The value of the request.
        check: Returns the checked value of a field.

    Raises:
        InvalidParameterError: The value or a field has the wrong type.
        UnknownParameterError: There is no such field.
    """
    values = value if isinstance(value, list) and parameter.many else [value]
    fields = {each.name: each for each in parameter.fields}
    checked: list[dict[str, Any]] = []
    for index, record in enumerate(values):
        if not isinstance(record, Mapping):
            kind = "an object or a list of objects" if parameter.many else "an object"
            raise InvalidParameterError(
                f"{parameter.name} must be {kind}, not {shorten(record)}.",
                hint=f"Its fields are {', '.join(fields)}.",
                parameter=parameter.name,
            )
        for name in record.keys() - fields.keys():
            close = nearest(name, list(fields))
            raise UnknownParameterError(
                f"{parameter.name} has no field {name!r}.",
                hint=f"Did you mean {close[0]}?" if close else f"Its fields are {', '.join(fields)}.",
                parameter=field_name(parameter.name, index, str(name)),
                choices=list(fields),
            )
        named = {each: replace(fields[each], name=field_name(parameter.name, index, each)) for each in record}
        checked.append({each: check(named[each], record[each]) for each in record})
    return checked if isinstance(value, list) else checked[0]


def missing_fields(
    parameters: Iterable[Parameter], params: Mapping[str, Any], files: Iterable[str]
) -> Iterator[MissingParameterError]:
    """Yield an error for each required field that a value of a request does not have."""
    present = frozenset(files)
    for parameter in parameters:
        for index, record in enumerate(records_of(parameter, params, present)) if parameter.fields else ():
            for field in parameter.fields:
                name = field_name(parameter.name, index, field.name)
                if field.required and record.get(field.name) is None and name not in present:
                    message = f"{parameter.name} needs the field {field.name}."
                    yield MissingParameterError(message, hint=f"Set {name}.", parameter=name)
