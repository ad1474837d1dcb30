"""Read a YAML file as plain data, and know where in the file each value stands."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from octabox.config.problems import KeyPath, Place, Problem, dotted, whole_file

#: Largest file that is read, in bytes: a configuration has some hundred.
MAX_BYTES = 128 * 1024

#: Most values that a file may hold once its aliases are written out.
MAX_VALUES = 10_000

#: Deepest nesting of lists and mappings.
MAX_DEPTH = 32

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """What a YAML file holds.

    Args:
        file: The file.
        data: Its content; None where it is empty or cannot be read.
        places: Where each value stands, by the way to it: its key in a mapping, itself in a list.
        problems: What is wrong with it as YAML.
    """

    file: Path
    data: Any = None
    places: Mapping[KeyPath, Place] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


class _Loader(yaml.SafeLoader):
    """Tells the types of plain values by YAML 1.2: ``no`` is a word, ``16:9`` is text, ``1e-3`` is a number."""

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
    """The file holds something at this place that must not be read on."""

    def __init__(self, message: str, hint: str, node: yaml.Node) -> None:
        super().__init__(message)
        self.message, self.hint, self.place = message, hint, _place(node.start_mark)


def read_document(file: Path) -> Document:
    """Read a YAML file; whatever is wrong with it is among the document's problems."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        return _unreadable(file, f"The file cannot be read: {error.strerror}.")
    if len(content) > MAX_BYTES:
        return _unreadable(file, f"The file is larger than {MAX_BYTES // 1024} KiB.", "a configuration is small")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _unreadable(file, "The file is not UTF-8 text.", "save it as UTF-8", Place(line))
    return parse_document(text, file)


def parse_document(text: str, file: Path) -> Document:
    """Parse the text of a YAML file."""
    walk = _Walk(file)
    try:
        root = yaml.compose(text, Loader=_Loader)
        data = None if root is None else walk.value(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return _unreadable(file, f"Not valid YAML: {error.problem}.", place=_place(mark) if mark else Place())
    except yaml.YAMLError as error:
        return _unreadable(file, f"Not valid YAML: {str(error).splitlines()[0]}.")
    except RecursionError:
        return _unreadable(file, "The file is nested too deeply.")
    except _UnreadableError as error:
        return _unreadable(file, error.message, error.hint, error.place)
    return Document(file, data, walk.places, tuple(walk.problems))


class _Walk:
    """Turns nodes into plain data, and notes their places."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.places: dict[KeyPath, Place] = {}
        self.problems: list[Problem] = []
        self.count = 0

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        """Return the data of any node."""
        self.count += 1
        self.places.setdefault(path, _place(node.start_mark))
        if self.count > MAX_VALUES:
            raise _UnreadableError(f"The file holds more than {MAX_VALUES} values.", "write out fewer aliases", node)
        if len(path) > MAX_DEPTH:
            raise _UnreadableError("The file is nested too deeply.", "an alias may hold itself", node)
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self.mapping(node, path)

    def mapping(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        """Return the data of a mapping; of a key that stands twice, the first holds."""
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _UnreadableError("A key must be text.", "quote it, if it is text", key_node)
            if key_node.tag == f"{_TAG}merge":
                merged |= self.merge(value_node, path)
                continue
            key, place = key_node.value, _place(key_node.start_mark)
            if key in found:
                self.problems.append(self.duplicate((*path, key), place))
                continue
            self.places[(*path, key)] = place
            found[key] = self.value(value_node, (*path, key))
        return merged | found

    def merge(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        """Return what ``<<`` brings in from one mapping or several, the first of which is the strongest."""
        merged: dict[str, Any] = {}
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                raise _UnreadableError("Only a mapping can be merged by `<<`.", "", source)
            merged = self.value(source, (*path, "<<")) | merged
        return merged

    def duplicate(self, path: KeyPath, place: Place) -> Problem:
        """Return what to say of a key that stands twice."""
        first = self.places[path].line
        message = f"`{dotted(path)}` stands twice, first in line {first}."
        return Problem(self.file, place.line, place.column, dotted(path), message, "remove one of the two")


def _scalar(node: yaml.ScalarNode) -> Any:
    """Return the value of a scalar, by its tag."""
    text, kind = node.value, node.tag.removeprefix(_TAG)
    try:
        if kind in {"str", "null"}:
            return text if kind == "str" else None
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        if kind == "int":
            return int(text, 0) if text.startswith(("0x", "0o")) else int(text)
        if kind == "float":
            number = float(text.replace(".inf", "inf").replace(".nan", "nan").lower())
            return number if math.isfinite(number) else _refuse_number(node)
    except (ValueError, KeyError):
        raise _UnreadableError(f"{text[:40]!r} is not a value of type {kind}.", "", node) from None
    raise _UnreadableError(f"The tag {node.tag} is not read here.", "write the value without a tag", node)


def _refuse_number(node: yaml.ScalarNode) -> float:
    """Refuse a number that has no end, or is none: no parameter takes it, and JSON cannot carry it."""
    raise _UnreadableError(f"{node.value} is not a finite number.", "", node)


def _place(mark: Any) -> Place:
    """Return a mark of PyYAML, which counts from 0, as a place."""
    return Place(mark.line + 1, mark.column + 1)


def _unreadable(file: Path, message: str, hint: str = "", place: Place | None = None) -> Document:
    """Return a document that could not be read."""
    return Document(file, problems=(whole_file(file, message, hint, place=place),))
