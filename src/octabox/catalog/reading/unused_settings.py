"""Find settings of a scheduler's constructor that nothing reads: they are taken, kept in its configuration, and change nothing.

A setting counts as read wherever its name is met in what may run: as a name in the constructor, as an attribute or as a
text in any method that can be reached, and in any code of the package that speaks of a scheduler. So one that is found here is
without effect, while of one that is not found here that is not certain.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, Function

#: Where a class keeps the settings that it was made with, and the class that keeps them.
CONFIG, KEEPER = "config", "ConfigMixin"

#: The method that takes settings.
CONSTRUCTOR = "__init__"

#: What other code reads of a scheduler, by `scheduler.config.shift`, `.get("shift")` or `hasattr(scheduler, "shift")`, not what
#: it writes there.
TOUCHED = re.compile(rb"scheduler\w*\b((?:\.\w+\b)*)(?!\.?\w*\s*=[^=])(?:(?:\(|\[|,)\s*[\"'](\w+))?")

#: Functions that read of something by a name, and a method.
BY_NAME, GET = ("getattr", "hasattr"), "get"


class UnusedSettings:
    """Tells which settings of schedulers are read by nothing.

    Args:
        tree: The package.
    """

    def __init__(self, tree: SourceTree) -> None:
        self._tree = tree
        self._methods: dict[Path, Mapping[str, list[Function]]] = {}
        self._touched: frozenset[str] | None = None

    def find(self, owner: ClassSource, settings: list[str]) -> tuple[str, ...]:
        """Return those of a class's settings that nothing reads."""
        methods: dict[str, list[Function]] = {}
        for ancestor in self._tree.lineage(owner):
            if ancestor.name == KEEPER:
                continue
            if any(self._tree.find(base, near=ancestor) is None for base in ancestor.bases if base != "object"):
                return ()
            for function in self._methods_of(ancestor):
                methods.setdefault(function.name, []).append(function)
        read = _read(methods)
        if read is None:
            return ()
        unread = [name for name in settings if name not in read]
        return tuple(name for name in unread if name not in self._of_others()) if unread else ()

    def _methods_of(self, owner: ClassSource) -> list[Function]:
        file = self._tree.files[owner.module]
        if file not in self._methods:
            classes = [node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.ClassDef)]
            self._methods[file] = {
                node.name: [part for part in node.body if isinstance(part, Function)] for node in classes
            }
        return self._methods[file].get(owner.name, [])

    def _of_others(self) -> frozenset[str]:
        """Return every name that the package's code reads of something that it calls a scheduler."""
        if self._touched is None:
            found: set[bytes] = set()
            for file in self._tree.files.values():
                for dotted, text in TOUCHED.findall(file.read_bytes()):
                    found |= {*dotted.split(b"."), text}
            self._touched = frozenset(each.decode() for each in found)
        return self._touched


def _read(methods: Mapping[str, list[Function]]) -> frozenset[str] | None:
    """Return every name that a class reads, in methods that others call or that are reached from these.

    Returns:
        None where it hands its whole configuration on, so that there is no telling.
    """
    read: set[str] = set()
    waiting = [name for name in methods if not name.startswith("_") or name.startswith("__")]
    reached = set(waiting)
    while waiting:
        name = waiting.pop()
        for function in methods[name]:
            found = set(_names(function))
            if CONFIG in found:
                return None
            read |= found
        more = (methods.keys() & read) - reached
        reached |= more
        waiting += more
    return frozenset(read)


def _names(function: Function) -> Iterator[str]:
    """Yield every attribute that a method reads, every text in it, in a constructor every name, and what it takes whole."""
    inner = [node for statement in function.body for node in ast.walk(statement)]
    held = {id(node) for each in inner for node in _asked(each)}
    for node in inner:
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            if node.attr != CONFIG or id(node) not in held:
                yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Name) and function.name == CONSTRUCTOR:
            yield node.id


def _asked(node: ast.AST) -> tuple[ast.expr, ...]:
    """Return what an expression reads by a name that it spells out: `of.name`, `of["name"]`, `of.get("name")`."""
    if isinstance(node, ast.Attribute):
        return () if node.attr == GET else (node.value,)
    if isinstance(node, ast.Subscript):
        return (node.value,) if isinstance(node.slice, ast.Constant) else ()
    if not isinstance(node, ast.Call):
        return ()
    if isinstance(node.func, ast.Attribute) and node.func.attr == GET:
        return (node.func.value,) if isinstance(node.args[0], ast.Constant) else ()
    if isinstance(node.func, ast.Name) and node.func.id in BY_NAME:
        return (node.args[0],) if isinstance(node.args[1], ast.Constant) else ()
    return ()
