"""Find constructor settings of schedulers without effect: they are stored in the configuration and never read.

A setting counts as read if its name occurs in code that may run: as a name in the constructor, as an attribute or a string in
any reachable method, and in any code of the package that accesses a scheduler. A setting that is found here has no effect; a
setting that is not found may have none either.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource, Function

#: Attribute that holds the settings of a class, and the mixin that defines it.
CONFIG, CONFIG_MIXIN = "config", "ConfigMixin"

#: Method that receives the settings.
CONSTRUCTOR = "__init__"

#: Reads of scheduler attributes in other code: `scheduler.config.shift`, `.get("shift")`, `hasattr(scheduler, "shift")`;
#: assignments do not match.
SCHEDULER_READ = re.compile(rb"scheduler\w*\b((?:\.\w+\b)*)(?!\.?\w*\s*=[^=])(?:(?:\(|\[|,)\s*[\"'](\w+))?")

#: Functions that read an attribute by name, and the method that reads an item.
BY_NAME, GET = ("getattr", "hasattr"), "get"


class UnusedSettings:
    """Finds the unused settings of schedulers.

    Args:
        tree: The source of the package.
    """

    def __init__(self, tree: SourceTree) -> None:
        self._tree = tree
        self._methods: dict[Path, Mapping[str, list[Function]]] = {}
        self._scheduler_reads: frozenset[str] | None = None

    def find(self, owner: ClassSource, settings: list[str]) -> tuple[str, ...]:
        """Return the settings of a class that are never read."""
        methods: dict[str, list[Function]] = {}
        for ancestor in self._tree.lineage(owner):
            if ancestor.name == CONFIG_MIXIN:
                continue
            if any(self._tree.find(base, near=ancestor) is None for base in ancestor.bases if base != "object"):
                return ()
            for function in self._methods_of(ancestor):
                methods.setdefault(function.name, []).append(function)
        read = _read_names(methods)
        if read is None:
            return ()
        unused = [name for name in settings if name not in read]
        return tuple(name for name in unused if name not in self._read_elsewhere()) if unused else ()

    def _methods_of(self, owner: ClassSource) -> list[Function]:
        file = self._tree.files[owner.module]
        if file not in self._methods:
            classes = [node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.ClassDef)]
            self._methods[file] = {
                node.name: [part for part in node.body if isinstance(part, Function)] for node in classes
            }
        return self._methods[file].get(owner.name, [])

    def _read_elsewhere(self) -> frozenset[str]:
        """Return all names that code of the package reads from a scheduler."""
        if self._scheduler_reads is None:
            found: set[bytes] = set()
            for file in self._tree.files.values():
                for dotted, text in SCHEDULER_READ.findall(file.read_bytes()):
                    found |= {*dotted.split(b"."), text}
            self._scheduler_reads = frozenset(each.decode() for each in found)
        return self._scheduler_reads


def _read_names(methods: Mapping[str, list[Function]]) -> frozenset[str] | None:
    """Return all names that a class reads in public methods and in methods that these reach.

    Returns:
        The names; None if the class passes its configuration on, so that the names are unknown.
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
    """Yield the attributes and strings of a method, for a constructor its names too, and `config` if it is passed on."""
    inner = [node for statement in function.body for node in ast.walk(statement)]
    accessed = {id(node) for each in inner for node in _accessed(each)}
    for node in inner:
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            if node.attr != CONFIG or id(node) not in accessed:
                yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Name) and function.name == CONSTRUCTOR:
            yield node.id


def _accessed(node: ast.AST) -> tuple[ast.expr, ...]:
    """Return the object from which an expression reads a literal name: `x.name`, `x["name"]`, `x.get("name")`."""
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
