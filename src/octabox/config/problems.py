"""What is wrong with a configuration, where it stands, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic_core import ErrorDetails

from octabox.errors import nearest

#: Way to a value inside a document: keys of mappings and indexes of lists.
KeyPath = tuple[str | int, ...]

#: An error keeps the model from being served, a warning does not.
Severity = Literal["error", "warning"]

#: What a value must be, by pydantic's name for its mistake; braces take pydantic's own details.
EXPECTED = {
    "string_type": "text",
    "string_pattern_mismatch": "text that begins with neither a blank nor a slash and holds no backslash",
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
class Place:
    """Where something stands in a file, counted from 1."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a file, or, as a warning, one that has no effect.

    Args:
        file: The file or folder concerned.
        line: Line, counted from 1.
        column: Column, counted from 1.
        key: The key concerned, as the file spells it, with dots between levels; empty for the whole file.
        message: What is wrong, in one sentence.
        hint: What to do about it.
        severity: Whether the model is served all the same.
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


def whole_file(
    file: Path, message: str, hint: str = "", severity: Severity = "error", place: Place | None = None
) -> Problem:
    """Return a problem with a file that no single key is to blame for."""
    place = place or Place()
    return Problem(file, place.line, place.column, "", message, hint, severity)


def dotted(path: Iterable[str | int]) -> str:
    """Spell the way to a value with dots: ``components.vae.dtype``."""
    return ".".join(str(part) for part in path)


def nearest_place(path: KeyPath, places: Mapping[KeyPath, Place]) -> Place:
    """Return the place of a value, or of the innermost thing around it that the file holds."""
    for length in range(len(path), -1, -1):
        if path[:length] in places:
            return places[path[:length]]
    return Place()


def shown(value: Any) -> str:
    """Show a value as its author would write it, cut short."""
    text = {None: "nothing", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else repr(value)
    text = text or "nothing"
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 (a line of a terminal)


def expectation(error: ErrorDetails) -> str:
    """Say what a value that pydantic refused must be."""
    if error["type"] in EXPECTED:
        details = {
            name: f"{bound:.15g}" if isinstance(bound, float) else bound for name, bound in error.get("ctx", {}).items()
        }
        return f"must be {EXPECTED[error['type']].format(**details)}"
    text = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return text if error["type"] == "value_error" else f"must be {text}"


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return a hint with the names most like this one; empty where none is."""
    found = nearest(name, choices)
    return f"did you mean {' or '.join(found)}?" if found else ""
