"""Find the packages that a class uses and that neither diffusers nor Octabox brings.

A file may import a package only where it is installed. A class that then uses it without asking needs it; one that asks
first, by ``is_x_available()``, does without. So does one for which the file has a substitute, and one that uses it under
some condition only. What a class uses is looked
for in its own methods, in the functions and classes of the package that they name, and in what those name in turn.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from octabox.catalog.entries import Dependency
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.reading.syntax import ClassSource

#: Asks whether a package is installed.
QUESTION = re.compile(r"^is_(\w+)_available$")

#: Base of all noise schedulers.
SCHEDULER = "SchedulerMixin"

#: Bases that every class has: what they use for some settings says nothing of one class.
BASES = frozenset({"DiffusionPipeline", "ModularPipeline", "ModularPipelineBlocks", "ModelMixin", "ConfigMixin"})


@cache
def known_packages() -> dict[str, Any]:
    """Read ``packages.yaml``."""
    data: dict[str, Any] = yaml.safe_load(
        files("octabox.catalog").joinpath("packages.yaml").read_text(encoding="utf-8")
    )
    data["silent"] = frozenset([*data["present"], *data["hardware"], *data["formats"], *sys.stdlib_module_names])
    return data


def dependency_on(module: str, *, certain: bool = True) -> Dependency:
    """Return the need of what Python imports by this name."""
    return Dependency(known_packages()["pip"].get(module, module.replace("_", "-")), module, certain)


def module_of(backend: str) -> str:
    """Return what Python imports for what diffusers calls a backend."""
    return str(known_packages()["backends"].get(backend, backend))


@dataclass(frozen=True)
class PackageUses:
    """What one class or function uses.

    Args:
        certain: Packages that it cannot do without.
        possible: Packages that it can do without.
        asked: Those of them that it asks for first.
        sometimes: Packages that it cannot do without under some condition.
        places: Where the classes and functions of its own package are that it names.
    """

    certain: frozenset[str] = frozenset()
    possible: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    sometimes: frozenset[str] = frozenset()
    references: tuple[tuple[str, str], ...] = ()


class DependencyReader:
    """Finds what the classes of a tree need.

    Args:
        tree: Where they are.
    """

    def __init__(self, tree: SourceTree) -> None:
        self._tree = tree
        self._known: dict[tuple[str, str], PackageUses] = {}

    def needs(self, owner: ClassSource, *others: ClassSource | None) -> tuple[Dependency, ...]:
        """Return what a class needs; ``others`` are classes that do its work, such as its blocks."""
        starts = [(owner.module, owner.name), *((each.module, each.name) for each in others if each)]
        folders = {module.rpartition(".")[0] for module, _ in starts}
        used: set[str] = set()
        possible: set[str] = set()
        for place in self._reached(starts):
            uses = self._uses(place)
            used |= uses.certain
            possible |= uses.sometimes
            # Far away, what is only possible concerns other classes more than this one.
            possible |= uses.possible if place[0].rpartition(".")[0] in folders else frozenset()
        for ancestor in self._tree.lineage(owner):
            # What a class asks for first, it does not use without an answer, however far away that is.
            used -= self._uses((ancestor.module, ancestor.name)).asked if ancestor.name not in BASES else frozenset()
        certain = used | {module_of(backend) for backend in self._tree.backends.get(owner.name, ())}
        modules = sorted((certain | possible) - known_packages()["silent"])
        return tuple(dependency_on(module, certain=module in certain) for module in modules)

    def _reached(self, starts: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Yield the places of all classes and functions that these name, and that those name in turn."""
        seen: set[tuple[str, str]] = set()
        waiting = list(starts)
        while waiting:
            place = waiting.pop()
            if place in seen or place[1] in BASES:
                continue
            seen.add(place)
            yield place
            waiting += self._uses(place).references

    def _uses(self, place: tuple[str, str]) -> PackageUses:
        if place not in self._known:
            self._known[place] = self._read(*place)
        return self._known[place]

    def _read(self, module: str, name: str) -> PackageUses:
        owner = self._class(module, name)
        source = self._tree.modules[module]
        mentions = (owner.mentions | _in_values(owner)) if owner else source.functions.get(name, frozenset())
        asked = frozenset(module_of(backend) for backend in self._asked(module, mentions))
        used = {source.foreign[each] for each in mentions & source.foreign.keys() if not self._class(module, each)}
        used |= _outcomes(self._tree, module, mentions)
        sometimes = self._sometimes(place=(module, name), packages=used - asked - known_packages()["silent"])
        lazy = {each.removeprefix("import ") for each in mentions if each.startswith("import ")}
        replaced = {source.foreign[each] for each in mentions & source.foreign.keys()} - used
        places = [found for each in mentions if (found := self._place(module, each))]
        if owner:
            places += [(each.module, each.name) for each in self._tree.lineage(owner)[1:]]
        return PackageUses(
            frozenset(used - asked - sometimes),
            frozenset(asked | lazy | replaced),
            asked,
            frozenset(sometimes),
            tuple(places),
        )

    def _sometimes(self, place: tuple[str, str], packages: frozenset[str] | set[str]) -> set[str]:
        """Return those of the packages that a class or function uses under some condition only, such as a setting."""
        if not packages:
            return set()
        module, name = place
        foreign = self._tree.modules[module].foreign
        body = ast.parse(self._tree.files[module].read_bytes()).body
        definition = next(
            (node for node in ast.walk(ast.Module(body, [])) if getattr(node, "name", None) == name), None
        )
        always = {each for each in _unconditional(definition) if each in foreign} if definition else set()
        named = {foreign[each] for each in self._mentions(module, name) if each in foreign}
        return {package for package in packages & named if package not in {foreign[each] for each in always}}

    def _mentions(self, module: str, name: str) -> frozenset[str]:
        owner = self._class(module, name)
        return owner.mentions if owner else self._tree.modules[module].functions.get(name, frozenset())

    def _asked(self, module: str, mentions: frozenset[str]) -> Iterator[str]:
        """Yield the backends that a piece of code asks for, by itself or by a constant that has the answer."""
        constants = self._tree.constants.get(module, {})
        for mention in mentions:
            answer = constants.get(mention)
            for asks in (mention, *_called(answer)):
                if match := QUESTION.match(asks):
                    yield match[1]

    def _class(self, module: str, name: str) -> ClassSource | None:
        return next((each for each in self._tree.classes.get(name, ()) if each.module == module), None)

    def _place(self, module: str, name: str) -> tuple[str, str] | None:
        """Return where the class or function stands that a name means in a module; None where it is of another package."""
        source = self._tree.modules[module]
        if self._class(module, name) or name in source.functions:
            return module, name
        target, original = source.imports.get(name, ("", name))
        if not target.startswith(self._tree.package):
            return None
        if target in self._tree.modules and original in self._tree.modules[target].functions:
            return target, original
        found = next((each for each in self._tree.classes.get(original, ()) if each.module.startswith(target)), None)
        # A scheduler is chosen apart, and has needs of its own.
        is_part = found and not any(ancestor.name == SCHEDULER for ancestor in self._tree.lineage(found))
        return (found.module, found.name) if found and is_part else None


def _unconditional(node: ast.AST) -> Iterator[str]:
    """Yield the names that a piece of code reads without an ``if`` around them."""
    if isinstance(node, ast.Name):
        yield node.id
    for child in [node.test] if isinstance(node, ast.If | ast.IfExp) else ast.iter_child_nodes(node):
        yield from _unconditional(child)


def _in_values(owner: ClassSource) -> frozenset[str]:
    """Return the names in the assignments of a class, such as the blocks that it is built of."""
    return frozenset(
        node.id for value in owner.values.values() for node in ast.walk(value) if isinstance(node, ast.Name)
    )


def _called(value: ast.expr | None) -> list[str]:
    calls = [node.func for node in ast.walk(value) if isinstance(node, ast.Call)] if value is not None else []
    return [function.id for function in calls if isinstance(function, ast.Name)]


def _outcomes(tree: SourceTree, module: str, mentions: frozenset[str]) -> set[str]:
    """Return the packages that assignments of a module which the code mentions are made with."""
    foreign = tree.modules[module].foreign
    values = [value for name, value in tree.constants.get(module, {}).items() if name in mentions]
    nodes = (node for value in values for node in ast.walk(value))
    return {foreign[node.id] for node in nodes if isinstance(node, ast.Name) and node.id in foreign}
