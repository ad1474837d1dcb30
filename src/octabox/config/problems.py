"""Problems in configuration files: the location, the message and the fix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic_core import ErrorDetails

from octabox.errors import nearest

#: Path to a value in a document: keys of mappings and indexes of lists.
KeyPath = tuple[str | int, ...]

#: An error prevents the model from being served, a warning does not.
Severity = Literal["error", "warning"]

#: Expected value by pydantic's error type; the fields in braces come from pydantic's context.
EXPECTED = {
    "string_type": "text",
    "string_unicode": "valid Unicode text",
    "string_pattern_mismatch": "text that does not start with a space or a slash and has no backslash",
    "string_too_short": "text that is not empty",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "tuple_type": "a list",
    "list_type": "a list",
    "path_type": "a path",
    "literal_error": "one of {expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
}


@dataclass(frozen=True)
class Location:
    """A line and a column of a file, counted from 1."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Problem:
    """An error in a file, or a warning about a key that has no effect.

    Args:
        file: The file or folder concerned.
        line: Line, counted from 1.
        column: Column, counted from 1.
        key: The key concerned, as the file spells it, with dots between levels; empty if it concerns the file itself.
        message: What is wrong, in one sentence.
        hint: How to fix it.
        severity: Whether it prevents the model from being served.
    """

    file: Path
    line: int
    column: int
    key: str
    message: str
    hint: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message}{hint}"


def file_problem(
    file: Path, message: str, hint: str = "", severity: Severity = "error", location: Location | None = None
) -> Problem:
    """Return a problem of a file that belongs to no key."""
    location = location or Location()
    return Problem(file, location.line, location.column, "", message, hint, severity)


def join_key(path: Iterable[str | int]) -> str:
    """Return a key path with dots between levels: ``components.vae.dtype``."""
    return ".".join(str(part) for part in path)


def nearest_location(path: KeyPath, locations: Mapping[KeyPath, Location]) -> Location:
    """Return the location of a value, or of the innermost enclosing value that the file has."""
    for length in range(len(path), -1, -1):
        if path[:length] in locations:
            return locations[path[:length]]
    return Location()


def format_value(value: Any) -> str:
    """Return a value as YAML spells it, shortened to a line."""
    text = {None: "nothing", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else repr(value)
    text = text or "nothing"
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 (a line of a terminal)


def describe_expected(error: ErrorDetails) -> str:
    """Return what pydantic expected of a value that it refused."""
    if error["type"] in EXPECTED:
        details = {
            name: f"{bound:.15g}" if isinstance(bound, float) else bound for name, bound in error.get("ctx", {}).items()
        }
        return f"must be {EXPECTED[error['type']].format(**details)}"
    text = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return text if error["type"] == "value_error" else f"must be {text}"


def describe_problem(path: KeyPath, error: ErrorDetails) -> str:
    """Return the message of a value that is missing or that pydantic refused."""
    if error["type"] == "missing":
        return f"`{join_key(path)}` is missing."
    if not tuple(path):
        return f"The model {describe_expected(error)}."  # Its keys do not go together.
    return f"`{join_key(path)}` {describe_expected(error)}, not {format_value(error['input'])}."


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return a hint with the names most similar to this one; empty if none is."""
    found = nearest(name, choices)
    return f"did you mean {' or '.join(found)}?" if found else ""
