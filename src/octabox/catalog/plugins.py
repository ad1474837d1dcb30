"""Pipelines that are not of diffusers: of installed packages that announce them, and of single files in a folder.

A package announces its pipelines by an entry point of the group ``octabox.pipelines`` whose value is the package or the module
that holds them. Its source is read as that of diffusers is; nothing is imported before a model asks for one of its classes.

A folder of single files is made known by `octabox.catalog.pipelines.use_folder`. It stands in the environment, where worker
processes find it too; so that must be called before the engine starts. Importing such a file runs it: only who runs the server
may put files there.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from octabox.catalog.entries import Dependency, PackageMetadata, PipelineEntry

logger = logging.getLogger(__name__)

#: Entry points by which a package announces its pipelines.
GROUP = "octabox.pipelines"

#: The folder of single files, for this process and those that it starts.
FOLDER_VARIABLE = "_OCTABOX_PIPELINES"

#: The package that single files are imported as parts of.
FILES_PACKAGE = "octabox_pipelines"


@dataclass(frozen=True)
class Plugin:
    """Where pipelines come from.

    Args:
        package: Name that they are imported by.
        place: Its folder, or its only file.
        version: Its version, where it has one.
    """

    package: str
    path: Path
    version: str = ""

    @property
    def files(self) -> Mapping[str, Path] | None:
        """Its files by module; None where they are all those below its folder."""
        if self.package == FILES_PACKAGE:
            return {f"{FILES_PACKAGE}.{path.stem}": path for path in sorted(self.path.glob("*.py"))}
        return {self.package: self.path} if self.path.is_file() else None


def find_plugins() -> Iterator[Plugin]:
    """Yield all that is installed or lies in the folder; a package that is announced but not there is logged."""
    for point in metadata.entry_points(group=GROUP):
        place = _place(point.module)
        if place is None:
            logger.warning("The package %s, announced for %s, is not there.", point.module, GROUP)
        else:
            yield Plugin(point.module, place, point.dist.version if point.dist else "")
    folder = Path(os.environ.get(FOLDER_VARIABLE, ""))
    if folder.is_absolute() and folder.is_dir():
        yield Plugin(FILES_PACKAGE, folder)


def merge_plugins(facts: PackageMetadata, others: Iterable[PackageMetadata]) -> tuple[PackageMetadata, tuple[str, ...]]:
    """Return the facts of diffusers with those of plugins, and what is wrong with these.

    A class whose name is taken is left out: whoever asks for a name must know what comes.
    """
    problems: list[str] = []
    pipelines = {entry.name: entry for entry in facts.pipelines}
    schedulers = {entry.name: entry for entry in facts.schedulers}
    ancestors = dict(facts.ancestors)
    for other in others:
        problems += [f"{path} cannot be read: {reason}" for path, reason in other.broken.items()]
        for name, bases in other.ancestors.items():
            if name not in ancestors:
                ancestors[name] = bases
        for entry in other.pipelines:
            if ancestors[entry.name][0] != entry.module:
                problems.append(_taken(entry.name, entry.module, ancestors[entry.name][0]))
            elif not entry.tasks:
                problems.append(
                    f"{entry.name} of {entry.module} is left out: its source does not say what its call gives."
                )
            else:
                pipelines[entry.name] = _with_inherited(entry, ancestors[entry.name][1:], pipelines)
        for scheduler in other.schedulers:
            if ancestors[scheduler.name][0] == scheduler.module:
                schedulers[scheduler.name] = scheduler
            else:
                problems.append(_taken(scheduler.name, scheduler.module, ancestors[scheduler.name][0]))
    for problem in problems:
        logger.warning("%s", problem)
    whole = replace(
        facts,
        pipelines=tuple(pipelines[name] for name in sorted(pipelines)),
        schedulers=tuple(schedulers[name] for name in sorted(schedulers)),
        ancestors=ancestors,
    )
    return whole, tuple(problems)


def prepare_import(module: str) -> None:
    """Make sure that a module of the folder can be imported by its name."""
    if module.partition(".")[0] == FILES_PACKAGE:
        package = sys.modules.setdefault(FILES_PACKAGE, ModuleType(FILES_PACKAGE))
        package.__path__ = [os.environ.get(FOLDER_VARIABLE, "")]


def _with_inherited(
    entry: PipelineEntry, ancestors: Iterable[str], known: Mapping[str, PipelineEntry]
) -> PipelineEntry:
    """Return an entry with the needs of the known classes that it inherits from."""
    needs: dict[str, Dependency] = {need.module: need for need in entry.needs}
    for name in ancestors:
        for need in known[name].needs if name in known else ():
            needs.setdefault(need.module, need)
    return replace(entry, needs=tuple(needs[module] for module in sorted(needs)))


def _taken(name: str, module: str, owner: str) -> str:
    return f"{name} of {module} is left out, for {owner} has a class of this name. Give it another name."


def _place(module: str) -> Path | None:
    """Return the folder or the file of a module, without importing it or what it is part of."""
    top, *parts = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not spec.submodule_search_locations:
        return Path(spec.origin) if spec.origin and not parts else None
    for root in spec.submodule_search_locations:
        path = Path(root, *parts)
        for found in (path, path.with_suffix(".py")):
            if found.exists():
                return found
    return None
