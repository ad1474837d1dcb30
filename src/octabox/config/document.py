"""Read a YAML file with the line and column of every value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from octabox.config.problems import KeyPath, Location, Problem, file_problem, join_key
from octabox.security.filesystem import read_file

#: Largest file that is read, in bytes; a configuration has a few hundred.
MAX_BYTES = 128 * 1024

#: Maximum number of values in a file, with its aliases expanded.
MAX_VALUES = 10_000

#: Maximum nesting of lists and mappings.
MAX_DEPTH = 32

#: Largest integer: 64 bits, as the largest seeds have.
MAX_NUMBER = 2**64 - 1

#: Maximum number of characters of a value in a message.
MAX_SHOWN = 40

#: An integer or a decimal number, of any length.
_NUMBER = re.compile(r"[-+]?(0x[0-9a-fA-F]+|0o[0-7]+|([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?)")

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """The content of a YAML file.

    Args:
        file: The file.
        data: Its content; None if it is empty or cannot be read.
        locations: Location of each value by its key path: that of the key in a mapping, that of the item in a list.
        problems: Errors in its YAML.
    """

    file: Path
    data: Any = None
    locations: Mapping[KeyPath, Location] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


class _Loader(yaml.SafeLoader):
    """Resolve unquoted scalars by YAML 1.2: ``no`` and ``16:9`` are strings, ``1e-3`` is a number."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (the name is PyYAML's)


for _name, _pattern, _starts in (
    ("null", r"(~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("bool", r"(true|True|TRUE|false|False|FALSE)", list("tTfF")),
    ("int", r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))", list("-+.")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})$"), _starts)


class _UnreadableError(Exception):
    """The file cannot be read beyond this node."""

    def __init__(self, message: str, hint: str, node: yaml.Node) -> None:
        super().__init__(message)
        self.message, self.hint, self.location = message, hint, _location_of(node.start_mark)


def read_document(file: Path) -> Document:
    """Read a YAML file; errors are reported in the document's problems."""
    try:
        content = read_file(file, MAX_BYTES + 1)
    except OSError as error:
        return _unreadable(file, f"The file cannot be read: {error.strerror}.")
    if len(content) > MAX_BYTES:
        return _unreadable(file, f"The file is larger than {MAX_BYTES // 1024} KiB.", "a configuration is small")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _unreadable(file, "The file is not UTF-8 text.", "save it as UTF-8", Location(line))
    return parse_document(text, file)


def parse_document(text: str, file: Path) -> Document:
    """Parse the text of a YAML file."""
    constructor = _Constructor(file)
    try:
        root = yaml.compose(text, Loader=_Loader)
        data = None if root is None else constructor.value(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return _unreadable(
            file, f"Not valid YAML: {error.problem}.", location=_location_of(mark) if mark else Location()
        )
    except yaml.YAMLError as error:
        return _unreadable(file, f"Not valid YAML: {str(error).splitlines()[0]}.")
    except RecursionError:
        return _unreadable(file, "The file is nested too deeply.")
    except _UnreadableError as error:
        return _unreadable(file, error.message, error.hint, error.location)
    return Document(file, data, constructor.locations, tuple(constructor.problems))


class _Constructor:
    """Build Python data from YAML nodes and record the location of each."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.locations: dict[KeyPath, Location] = {}
        self.problems: list[Problem] = []
        self.count = 0

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        """Return the data of a node."""
        self.count += 1
        self.locations.setdefault(path, _location_of(node.start_mark))
        if self.count > MAX_VALUES:
            raise _UnreadableError(f"The file holds more than {MAX_VALUES} values.", "use fewer aliases", node)
        if len(path) > MAX_DEPTH:
            raise _UnreadableError("The file is nested too deeply.", "an alias may contain itself", node)
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self.mapping(node, path)

    def mapping(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        """Return the data of a mapping; the first of two duplicate keys is used."""
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _UnreadableError("A key must be text.", "quote the key", key_node)
            if key_node.tag == f"{_TAG}merge":
                merged |= self.merge(value_node, path)
                continue
            key, location = key_node.value, _location_of(key_node.start_mark)
            key_path = (*path, key)
            if key in found:
                self.problems.append(self.duplicate(key_path, location))
                continue
            self.locations[key_path] = location
            found[key] = self.value(value_node, key_path)
        return merged | found

    def merge(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        """Return the keys that ``<<`` merges from one mapping or several; earlier mappings take precedence."""
        merged: dict[str, Any] = {}
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                raise _UnreadableError("`<<` must refer to a mapping.", "", source)
            merged = self.value(source, (*path, "<<")) | merged
        return merged

    def duplicate(self, path: KeyPath, location: Location) -> Problem:
        """Return the problem of a duplicate key."""
        first = self.locations[path].line
        message = f"`{join_key(path)}` is a duplicate key, first set in line {first}."
        return Problem(self.file, location.line, location.column, join_key(path), message, "remove one of them")


def _scalar(node: yaml.ScalarNode) -> Any:
    """Return the value of a scalar as its tag requires."""
    text, kind = node.value, node.tag.removeprefix(_TAG)
    try:
        if kind in {"str", "null"}:
            return text if kind == "str" else None
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        if kind == "int":
            integer = int(text, 0) if text.startswith(("0x", "0o")) else int(text)
            return integer if abs(integer) <= MAX_NUMBER else _refuse_number(node)
        if kind == "float":
            number = float(text.replace(".inf", "inf").replace(".nan", "nan").lower())
            return number if math.isfinite(number) else _refuse_number(node)
    except ValueError:
        # Python refuses to convert thousands of digits.
        if _NUMBER.fullmatch(text):
            _refuse_number(node)
        raise _UnreadableError(f"{_shorten(text)!r} is not a value of type {kind}.", "", node) from None
    except KeyError:
        raise _UnreadableError(f"{_shorten(text)!r} is not a value of type {kind}.", "", node) from None
    raise _UnreadableError(f"The tag {node.tag} is not supported.", "write the value without a tag", node)


def _refuse_number(node: yaml.ScalarNode) -> float:
    """Refuse infinity, NaN and numbers of thousands of digits: no parameter takes them, and JSON has no such numbers."""
    if _NUMBER.fullmatch(node.value):
        raise _UnreadableError(f"{_shorten(node.value)} is too large for a number.", "quote it if it is text", node)
    raise _UnreadableError(f"{node.value} is not a finite number.", "", node)


def _shorten(text: str) -> str:
    """Return the beginning of a text."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _location_of(mark: Any) -> Location:
    """Return the location of a PyYAML mark, which counts from 0."""
    return Location(mark.line + 1, mark.column + 1)


def _unreadable(file: Path, message: str, hint: str = "", location: Location | None = None) -> Document:
    """Return a document without data."""
    return Document(file, problems=(file_problem(file, message, hint, location=location),))
