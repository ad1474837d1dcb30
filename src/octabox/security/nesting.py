"""Limits of the nesting, size and text length of a request's JSON."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping

from octabox.errors import InvalidParameterError

#: Maximum nesting of lists and objects; an array has one level for each axis.
MAX_DEPTH = 32

#: Maximum number of values in a request, including nested ones; larger arrays are sent as files.
MAX_VALUES = 1_000_000

#: Maximum number of fields of an object; the pipelines with most parameters have less than a hundred.
MAX_FIELDS = 10_000

#: Maximum length of a name in an object, in characters; those of parameters have less than fifty.
MAX_NAME = 1000

#: Maximum length of a text that is not a file, in characters: more than any text encoder reads.
MAX_TEXT = 100_000


def check_nesting(value: object, parameter: str) -> None:
    """Check the nesting and the number of values of a list or an object.

    Args:
        value: Data parsed from JSON, YAML or a message.
        parameter: Name of the parameter or field that it belongs to.

    Raises:
        InvalidParameterError: It is nested too deeply or too large, or a name is too long.
    """
    check_name(parameter)
    level: list[object] = [value]
    count = depth = 0
    while level:
        count += len(level)
        if count > MAX_VALUES:
            raise InvalidParameterError(
                f"'{parameter}' has more than {MAX_VALUES} values.",
                hint="Send an array as a NumPy file (.npy).",
                parameter=parameter,
            )
        below: list[object] = []
        for each in level:
            if isinstance(each, Mapping):
                if len(each) > MAX_FIELDS:
                    raise InvalidParameterError(
                        f"'{parameter}' has an object with more than {MAX_FIELDS} fields.",
                        hint="Send fewer fields.",
                        parameter=parameter,
                    )
                for key in each:
                    check_name(key)
                below.extend(each.values())
            elif isinstance(each, list | tuple):
                below.extend(each)
        depth += 1 if below else 0
        if depth > MAX_DEPTH:
            raise InvalidParameterError(
                f"'{parameter}' is nested more than {MAX_DEPTH} levels deep.",
                hint="Send it with fewer levels.",
                parameter=parameter,
            )
        level = below


def check_name(name: object) -> None:
    """Check the length of the name of a field or a parameter.

    Raises:
        InvalidParameterError: It is longer than any, so that messages must not repeat it.
    """
    if isinstance(name, str) and len(name) > MAX_NAME:
        shown = f"{name[:50]}..."
        raise InvalidParameterError(
            f"The name '{shown}' has {len(name)} characters; the maximum is {MAX_NAME}.",
            hint="Send a text as a value.",
            parameter=shown,
        )


def check_numbers(value: object, parameter: str) -> None:
    """Check that a number, or each in a list or an object that has passed `check_nesting`, is one that a float can hold.

    Raises:
        InvalidParameterError: A number is infinite, NaN or larger than any float.
    """
    if not all(_is_finite(each) for each in _scalars(value) if isinstance(each, int | float)):
        raise InvalidParameterError(
            f"'{parameter}' must be a finite number, at most {sys.float_info.max:.1e}.", parameter=parameter
        )


def _is_finite(number: float) -> bool:
    """Return whether a float can hold a number."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def check_text(value: object, parameter: str) -> None:
    """Check the length of a text, or of each text in a list or an object that has passed `check_nesting`.

    Raises:
        InvalidParameterError: A text is longer than any model reads.
    """
    longest = max((len(each) for each in _scalars(value) if isinstance(each, str)), default=0)
    if longest > MAX_TEXT:
        raise InvalidParameterError(
            f"'{parameter}' has {longest} characters; the maximum is {MAX_TEXT}.",
            hint="No text encoder reads that much; send a shorter text.",
            parameter=parameter,
        )


def _scalars(value: object) -> Iterator[object]:
    """Yield the values in a list or an object at any depth; a value that is neither is yielded itself."""
    if isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _scalars(each)
    else:
        yield value
