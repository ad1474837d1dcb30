"""Find the packages that a class uses and that are not dependencies of diffusers or Octabox.

A file may import a package only if it is installed. A class that uses such a package without a check needs it. A class that
checks ``is_x_available()`` first, has a substitute, or uses the package under a condition only, does not always need it. The
uses of a class are those in its methods, in the functions and classes of its package that they name, and so on.
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

#: Functions that check whether a package is installed.
AVAILABILITY = re.compile(r"^is_(\w+)_available$")

#: Base class of all noise schedulers.
SCHEDULER = "SchedulerMixin"

#: Base classes of all classes; the packages that they use for some settings are not attributed to a class.
BASES = frozenset({"DiffusionPipeline", "ModularPipeline", "ModularPipelineBlocks", "ModelMixin", "ConfigMixin"})


@cache
def known_packages() -> dict[str, Any]:
    """Return the content of ``packages.yaml``."""
    data: dict[str, Any] = yaml.safe_load(
        files("octabox.catalog").joinpath("packages.yaml").read_text(encoding="utf-8")
    )
    data["silent"] = frozenset([*data["present"], *data["hardware"], *data["formats"], *sys.stdlib_module_names])
    return data


def dependency_on(module: str, *, certain: bool = True) -> Dependency:
    """Return the dependency on a module."""
    return Dependency(known_packages()["pip"].get(module, module.replace("_", "-")), module, certain)


def module_of(backend: str) -> str:
    """Return the module of a backend of diffusers."""
    return str(known_packages()["backends"].get(backend, backend))


@dataclass(frozen=True)
class PackageUses:
    """The packages that one class or function uses.

    Args:
        certain: Packages that it always needs.
        possible: Packages that it does not need.
        checked: Packages of these whose availability it checks first.
        conditional: Packages that it needs under some condition.
        references: Module and name of the classes and functions of its own package that it names.
    """

    certain: frozenset[str] = frozenset()
    possible: frozenset[str] = frozenset()
    checked: frozenset[str] = frozenset()
    conditional: frozenset[str] = frozenset()
    references: tuple[tuple[str, str], ...] = ()


class DependencyReader:
    """Finds the dependencies of the classes of a source tree.

    Args:
        tree: The source tree.
    """

    def __init__(self, tree: SourceTree) -> None:
        self._tree = tree
        self._known: dict[tuple[str, str], PackageUses] = {}

    def needs(self, owner: ClassSource, *others: ClassSource | None) -> tuple[Dependency, ...]:
        """Return the dependencies of a class; ``others`` are classes that it is built of, such as its blocks."""
        starts = [(owner.module, owner.name), *((each.module, each.name) for each in others if each)]
        folders = {module.rpartition(".")[0] for module, _ in starts}
        used: set[str] = set()
        possible: set[str] = set()
        for reference in self._reached(starts):
            uses = self._uses(reference)
            used |= uses.certain
            possible |= uses.conditional
            # In other folders, optional packages are for other classes.
            possible |= uses.possible if reference[0].rpartition(".")[0] in folders else frozenset()
        for ancestor in self._tree.lineage(owner):
            # A package whose availability a class checks is optional for all that the class uses.
            used -= self._uses((ancestor.module, ancestor.name)).checked if ancestor.name not in BASES else frozenset()
        certain = used | {module_of(backend) for backend in self._tree.backends.get(owner.name, ())}
        modules = sorted((certain | possible) - known_packages()["silent"])
        return tuple(dependency_on(module, certain=module in certain) for module in modules)

    def _reached(self, starts: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Yield these classes and functions, and all that they reference, directly or not."""
        seen: set[tuple[str, str]] = set()
        waiting = list(starts)
        while waiting:
            reference = waiting.pop()
            if reference in seen or reference[1] in BASES:
                continue
            seen.add(reference)
            yield reference
            waiting += self._uses(reference).references

    def _uses(self, reference: tuple[str, str]) -> PackageUses:
        if reference not in self._known:
            self._known[reference] = self._read(*reference)
        return self._known[reference]

    def _read(self, module: str, name: str) -> PackageUses:
        owner = self._class(module, name)
        source = self._tree.modules[module]
        mentions = (owner.mentions | _in_values(owner)) if owner else source.functions.get(name, frozenset())
        checked = frozenset(module_of(backend) for backend in self._checked(module, mentions))
        used = {source.foreign[each] for each in mentions & source.foreign.keys() if not self._class(module, each)}
        used |= _constant_packages(self._tree, module, mentions)
        conditional = self._conditional((module, name), used - checked - known_packages()["silent"])
        lazy = {each.removeprefix("import ") for each in mentions if each.startswith("import ")}
        replaced = {source.foreign[each] for each in mentions & source.foreign.keys()} - used
        references = [found for each in mentions if (found := self._reference(module, each))]
        if owner:
            references += [(each.module, each.name) for each in self._tree.lineage(owner)[1:]]
        return PackageUses(
            frozenset(used - checked - conditional),
            frozenset(checked | lazy | replaced),
            checked,
            frozenset(conditional),
            tuple(references),
        )

    def _conditional(self, reference: tuple[str, str], packages: frozenset[str] | set[str]) -> set[str]:
        """Return the packages that a class or function uses only under a condition, such as a setting."""
        if not packages:
            return set()
        module, name = reference
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

    def _checked(self, module: str, mentions: frozenset[str]) -> Iterator[str]:
        """Yield the backends whose availability code checks, directly or by a constant."""
        constants = self._tree.constants.get(module, {})
        for mention in mentions:
            for name in (mention, *_called(constants.get(mention))):
                if match := AVAILABILITY.match(name):
                    yield match[1]

    def _class(self, module: str, name: str) -> ClassSource | None:
        return next((each for each in self._tree.classes.get(name, ()) if each.module == module), None)

    def _reference(self, module: str, name: str) -> tuple[str, str] | None:
        """Return the module and name of a class or function that a module names; None for other packages."""
        source = self._tree.modules[module]
        if self._class(module, name) or name in source.functions:
            return module, name
        target, original = source.imports.get(name, ("", name))
        if not target.startswith(self._tree.package):
            return None
        if target in self._tree.modules and original in self._tree.modules[target].functions:
            return target, original
        found = next((each for each in self._tree.classes.get(original, ()) if each.module.startswith(target)), None)
        # A scheduler is chosen by the request and has its own dependencies.
        is_part = found and not any(ancestor.name == SCHEDULER for ancestor in self._tree.lineage(found))
        return (found.module, found.name) if found and is_part else None


def _unconditional(node: ast.AST) -> Iterator[str]:
    """Yield the names that code reads outside of ``if``."""
    if isinstance(node, ast.Name):
        yield node.id
    for child in [node.test] if isinstance(node, ast.If | ast.IfExp) else ast.iter_child_nodes(node):
        yield from _unconditional(child)


def _in_values(owner: ClassSource) -> frozenset[str]:
    """Return the names in the class attributes of a class, such as its blocks."""
    return frozenset(
        node.id for value in owner.values.values() for node in ast.walk(value) if isinstance(node, ast.Name)
    )


def _called(value: ast.expr | None) -> list[str]:
    calls = [node.func for node in ast.walk(value) if isinstance(node, ast.Call)] if value is not None else []
    return [function.id for function in calls if isinstance(function, ast.Name)]


def _constant_packages(tree: SourceTree, module: str, mentions: frozenset[str]) -> set[str]:
    """Return the packages in the values of the module constants that code mentions."""
    foreign = tree.modules[module].foreign
    values = [value for name, value in tree.constants.get(module, {}).items() if name in mentions]
    nodes = (node for value in values for node in ast.walk(value))
    return {foreign[node.id] for node in nodes if isinstance(node, ast.Name) and node.id in foreign}
