"""Read the source of a Python package: its classes, their base classes, methods and attributes.

Nothing is imported. A class is resolved by its name and the imports of the file that names it.
"""

from __future__ import annotations

import ast
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from octabox.catalog.reading.syntax import ClassSource, Function, ModuleSource, literal, read_module
from octabox.security.filesystem import read_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Library:
    """A package that a plugin builds on; only the modules in use are read.

    Args:
        package: Its name.
        folder: Its source folder.
        modules: The module of each of its classes.
    """

    package: str
    folder: Path
    modules: Mapping[str, str]

    def file_of(self, module: str) -> Path:
        """Return the source file of a module."""
        path = self.folder.joinpath(*module.split(".")[1:])
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


class SourceTree:
    """The source of a package: its modules and classes, and the relations between them.

    Args:
        package: Its dotted name.
        folder: Its source folder.
        files: Its files by module; by default all files below the folder.
        library: The package that it builds on, if any.
    """

    def __init__(
        self, package: str, folder: Path, files: Mapping[str, Path] | None = None, library: Library | None = None
    ) -> None:
        self.package = package
        self.classes: dict[str, list[ClassSource]] = {}
        #: Module constants, by module and name.
        self.constants: dict[str, Mapping[str, ast.expr]] = {}
        self.modules: dict[str, ModuleSource] = {}
        #: Source file of each module.
        self.files: dict[str, Path] = {}
        #: Backends that a class needs, by class name, from its placeholder class.
        self.backends: dict[str, tuple[str, ...]] = {}
        #: Files that cannot be parsed, with the reason.
        self.broken: dict[Path, str] = {}
        self._library = library
        for module, path in (source_files(package, folder) if files is None else files).items():
            self._read(module, path)

    def _read(self, module: str, path: Path) -> None:
        """Read one file; a file that cannot be parsed is skipped."""
        try:
            source = read_module(read_file(path), module, is_package=path.name == "__init__.py")
        except (OSError, SyntaxError, ValueError) as error:
            logger.debug("Skipped %s: %s", path, error)
            self.broken[path] = str(error)
            return
        self.modules[module] = source
        self.files[module] = path
        self.constants[module] = source.constants
        self.backends.update(source.backends)
        for each in source.classes:
            self.classes.setdefault(each.name, []).append(each)

    def owns(self, module: str) -> bool:
        """Return whether a module is part of this package."""
        return module == self.package or module.startswith(f"{self.package}.")

    def find(self, name: str, near: ClassSource | None = None) -> ClassSource | None:
        """Return a class by name; of several classes with this name, the one that the module of ``near`` refers to."""
        found = self.classes.get(name)
        if near is not None:
            imported, original = near.imports.get(name, ("", name))
            found = found or self._find_in_library(name, original) or self.classes.get(original)
            for candidate in found or ():
                if candidate.module == near.module or (imported and candidate.module.startswith(imported)):
                    return candidate
        return found[0] if found else None

    def _find_in_library(self, *names: str) -> list[ClassSource] | None:
        """Return the classes of the library for the first of these names that it has."""
        for name in names if self._library else ():
            module = self._library.modules.get(name) if self._library else None
            if module and module not in self.modules:
                self._read_library_module(module)
            if module:
                return self.classes.get(name)
        return None

    def _read_library_module(self, module: str) -> None:
        if self._library and module not in self.modules:
            self._read(module, self._library.file_of(module))

    def lineage(self, name: str | ClassSource) -> list[ClassSource]:
        """Return a class and its ancestors, nearest first, without base classes of other packages."""
        start = self.find(name) if isinstance(name, str) else name
        found: dict[tuple[str, str], ClassSource] = {}
        waiting = [start] if start else []
        while waiting:
            current = waiting.pop(0)
            if (current.module, current.name) in found:
                continue
            found[current.module, current.name] = current
            bases = [self.find(base, near=current) for base in current.bases if base != current.name]
            waiting = [base for base in bases if base is not None] + waiting
        return list(found.values())

    def subclasses(self, base: str) -> Iterator[ClassSource]:
        """Yield all classes that inherit from ``base``, and ``base`` itself."""
        for found in list(self.classes.values()):
            for candidate in found[:1]:
                if self.owns(candidate.module) and any(ancestor.name == base for ancestor in self.lineage(candidate)):
                    yield candidate

    def function(self, owner: ClassSource, name: str) -> tuple[ClassSource, Function] | None:
        """Return a method of a class, inherited or not, and the class that defines it."""
        for ancestor in self.lineage(owner):
            if name in ancestor.functions:
                return ancestor, ancestor.functions[name]
        return None

    def value(self, owner: ClassSource, name: str) -> object:
        """Return the literal value of a class attribute, inherited or not; None if there is none."""
        for ancestor in self.lineage(owner):
            if name in ancestor.values:
                return literal(ancestor.values[name])
        return None

    def alias(self, name: str) -> ast.expr | None:
        """Return the expression that a module assigns to a name, such as a type alias."""
        found = next((names[name] for names in self.constants.values() if name in names), None)
        if found is None and self._library:
            sources = [module.imports[name] for module in list(self.modules.values()) if name in module.imports]
            for source, original in sources:
                if source.partition(".")[0] == self._library.package:
                    self._read_library_module(source)
                    return self.constants.get(source, {}).get(original)
        return found


def source_files(package: str, folder: Path) -> dict[str, Path]:
    """Return all Python files below a folder, by module name."""
    found: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name.isidentifier() and name != "__pycache__")
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(parent, name)
                parts = path.relative_to(folder).with_suffix("").parts
                found[".".join([package, *(parts[:-1] if name == "__init__.py" else parts)])] = path
    return found
