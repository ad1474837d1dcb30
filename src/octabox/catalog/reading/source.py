"""Read a Python package as source: which classes it has, what they inherit, and what their functions take and give.

Nothing is imported. A class is found by its name and by the imports of the file that names it, as a reader would do it.
"""

from __future__ import annotations

import ast
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from octabox.catalog.reading.syntax import ClassSource, Function, ModuleSource, literal, read_module

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Library:
    """A package that others build on, of which only what they use is read.

    Args:
        package: Its name.
        folder: Where its source lies.
        modules: The module of each of its classes.
    """

    package: str
    folder: Path
    modules: Mapping[str, str]

    def file_of(self, module: str) -> Path:
        """Return the file of one of its modules."""
        path = self.folder.joinpath(*module.split(".")[1:])
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


class SourceTree:
    """All classes of a package, and how they hang together.

    Args:
        package: Its dotted name.
        folder: Where its source lies.
        files: Its files by module, where they are not all those below the folder.
        library: What it builds on, if that is another package.
    """

    def __init__(
        self, package: str, folder: Path, files: Mapping[str, Path] | None = None, library: Library | None = None
    ) -> None:
        self.package = package
        self.classes: dict[str, list[ClassSource]] = {}
        #: Assignments at the top of modules, by module and name.
        self.constants: dict[str, Mapping[str, ast.expr]] = {}
        self.modules: dict[str, ModuleSource] = {}
        #: Backends that a class cannot do without, by its name, as its stand-in lists them.
        self.backends: dict[str, tuple[str, ...]] = {}
        #: Files that are no valid Python, and why.
        self.broken: dict[Path, str] = {}
        self._library = library
        for module, path in (source_files(package, folder) if files is None else files).items():
            self._read(module, path)

    def _read(self, module: str, path: Path) -> None:
        """Take up one file; one that is no valid Python is left out, as an import of it would fail too."""
        try:
            source = read_module(path.read_bytes(), module, is_package=path.name == "__init__.py")
        except (OSError, SyntaxError, ValueError) as error:
            logger.debug("Left out %s: %s", path, error)
            self.broken[path] = str(error)
            return
        self.modules[module] = source
        self.constants[module] = source.constants
        self.backends.update(source.backends)
        for each in source.classes:
            self.classes.setdefault(each.name, []).append(each)

    def owns(self, module: str) -> bool:
        """Return whether a module is of this package, and not of the library that it builds on."""
        return module == self.package or module.startswith(f"{self.package}.")

    def find(self, name: str, near: ClassSource | None = None) -> ClassSource | None:
        """Return the class of this name; where several modules have one, that which ``near``'s module means."""
        found = self.classes.get(name)
        if near is not None:
            imported, original = near.imports.get(name, ("", name))
            found = found or self._borrowed(name, original) or self.classes.get(original)
            for candidate in found or ():
                if candidate.module == near.module or (imported and candidate.module.startswith(imported)):
                    return candidate
        return found[0] if found else None

    def _borrowed(self, *names: str) -> list[ClassSource] | None:
        """Return the classes of the first of these names that the library has, from where it has it."""
        for name in names if self._library else ():
            module = self._library.modules.get(name) if self._library else None
            if module and module not in self.modules:
                self._borrow(module)
            if module:
                return self.classes.get(name)
        return None

    def _borrow(self, module: str) -> None:
        if self._library and module not in self.modules:
            self._read(module, self._library.file_of(module))

    def lineage(self, name: str | ClassSource) -> list[ClassSource]:
        """Return a class and all that it inherits from, nearest first; bases outside of the package are left out."""
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
        """Yield every class that inherits from ``base``, and ``base`` itself."""
        for named in list(self.classes.values()):
            for candidate in named[:1]:
                if self.owns(candidate.module) and any(ancestor.name == base for ancestor in self.lineage(candidate)):
                    yield candidate

    def function(self, owner: ClassSource, name: str) -> tuple[ClassSource, Function] | None:
        """Return a method of a class, inherited or not, and the class that holds it."""
        for ancestor in self.lineage(owner):
            if name in ancestor.functions:
                return ancestor, ancestor.functions[name]
        return None

    def value(self, owner: ClassSource, name: str) -> object:
        """Return a literal that the class or an ancestor assigns to ``name``; None where there is none."""
        for ancestor in self.lineage(owner):
            if name in ancestor.values:
                return literal(ancestor.values[name])
        return None

    def alias(self, name: str) -> ast.expr | None:
        """Return what a name stands for that some module assigns, such as a type's alias."""
        found = next((names[name] for names in self.constants.values() if name in names), None)
        if found is None and self._library:
            sources = [module.imports[name] for module in list(self.modules.values()) if name in module.imports]
            for source, original in sources:
                if source.partition(".")[0] == self._library.package:
                    self._borrow(source)
                    return self.constants.get(source, {}).get(original)
        return found


def source_files(package: str, folder: Path) -> dict[str, Path]:
    """Return every Python file below a folder, by the name of its module."""
    found: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name.isidentifier() and name != "__pycache__")
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(parent, name)
                parts = path.relative_to(folder).with_suffix("").parts
                found[".".join([package, *(parts[:-1] if name == "__init__.py" else parts)])] = path
    return found
