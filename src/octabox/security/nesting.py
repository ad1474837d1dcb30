"""Bounds on what a request's JSON holds, before anything works on it."""

from __future__ import annotations

from collections.abc import Mapping

from octabox.errors import InvalidParameterError

#: Levels of lists and objects inside one another; arrays of numbers have as many as they have axes.
MAX_DEPTH = 32

#: Values of one request, those of nested lists included; larger arrays come as files.
MAX_VALUES = 1_000_000

#: Characters of one text that is no file: more than any text encoder reads.
MAX_TEXT = 100_000


def check_nesting(value: object, parameter: str) -> None:
    """Check how deep lists and objects lie inside one another, and how many values they hold.

    Args:
        value: What was read from JSON, YAML or a message.
        parameter: Name of the parameter or field that it belongs to.

    Raises:
        InvalidParameterError: It is nested too deep, or too large.
    """
    level: list[object] = [value]
    count = depth = 0
    while level:
        count += len(level)
        if count > MAX_VALUES:
            raise InvalidParameterError(
                f"'{parameter}' has more than {MAX_VALUES} values.",
                hint="Send an array as a file of NumPy (.npy).",
                parameter=parameter,
            )
        below: list[object] = []
        for each in level:
            if isinstance(each, Mapping):
                below.extend(each.values())
            elif isinstance(each, list | tuple):
                below.extend(each)
        depth += 1 if below else 0
        if depth > MAX_DEPTH:
            raise InvalidParameterError(
                f"'{parameter}' is nested more than {MAX_DEPTH} levels deep.", parameter=parameter
            )
        level = below


def check_text(value: object, parameter: str) -> None:
    """Check the length of a text, or of each text of a list or an object that has passed `check_nesting`.

    Raises:
        InvalidParameterError: One is longer than any model reads.
    """
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise InvalidParameterError(
            f"'{parameter}' has {len(value)} characters, more than the {MAX_TEXT} that are allowed.",
            hint="No text encoder reads so much; send the part that matters.",
            parameter=parameter,
        )
    if isinstance(value, Mapping):
        for each in value.values():
            check_text(each, parameter)
    elif isinstance(value, list | tuple):
        for each in value:
            check_text(each, parameter)
