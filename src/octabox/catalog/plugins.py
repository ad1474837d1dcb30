"""Plugin pipelines: those of installed packages with an entry point, and those of Python files in a folder.

A package declares its pipelines by an entry point of the group ``octabox.pipelines`` whose value is the package or module
that holds them. Its source is read like that of diffusers; nothing is imported before a model uses one of its classes.

A folder of Python files is set by `octabox.catalog.pipelines.use_folder`. Worker processes find it in the environment, so it
must be set before the engine starts. Importing such a file runs it: only the administrator of the server may write there.
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

#: Entry point group by which a package declares its pipelines.
GROUP = "octabox.pipelines"

#: Environment variable for the folder of Python files, for this process and its child processes.
FOLDER_VARIABLE = "_OCTABOX_PIPELINES"

#: Package name under which the files of the folder are imported.
FILES_PACKAGE = "octabox_pipelines"


@dataclass(frozen=True)
class Plugin:
    """A source of plugin pipelines.

    Args:
        package: Name of its package or module.
        path: Its folder, or its single file.
        version: Its version, if it has one.
    """

    package: str
    path: Path
    version: str = ""

    @property
    def files(self) -> Mapping[str, Path] | None:
        """Its files by module name; None for all files below its folder."""
        if self.package == FILES_PACKAGE:
            return {f"{FILES_PACKAGE}.{path.stem}": path for path in sorted(self.path.glob("*.py"))}
        return {self.package: self.path} if self.path.is_file() else None


def find_plugins() -> Iterator[Plugin]:
    """Yield the installed plugins and the folder of Python files; a missing package is logged."""
    for point in metadata.entry_points(group=GROUP):
        path = _find_source(point.module)
        if path is None:
            logger.warning("The package %s of an entry point of %s is not installed.", point.module, GROUP)
        else:
            yield Plugin(point.module, path, point.dist.version if point.dist else "")
    folder = Path(os.environ.get(FOLDER_VARIABLE, ""))
    if folder.is_absolute() and folder.is_dir():
        yield Plugin(FILES_PACKAGE, folder)


def merge_plugins(
    library: PackageMetadata, others: Iterable[PackageMetadata]
) -> tuple[PackageMetadata, tuple[str, ...]]:
    """Merge the metadata of plugins into that of diffusers; also return the problems of the plugins.

    A plugin class whose name is already used is skipped.
    """
    problems: list[str] = []
    pipelines = {entry.name: entry for entry in library.pipelines}
    schedulers = {entry.name: entry for entry in library.schedulers}
    ancestors, plans = dict(library.ancestors), dict(library.plans)
    for other in others:
        problems += [f"{path} cannot be read: {reason}" for path, reason in other.broken.items()]
        for name, bases in other.ancestors.items():
            if name not in ancestors:
                ancestors[name] = bases
                plans |= {name: other.plans[name]} if name in other.plans else {}
        for entry in other.pipelines:
            if ancestors[entry.name][0] != entry.module:
                problems.append(_duplicate(entry.name, entry.module, ancestors[entry.name][0]))
            elif not entry.tasks:
                problems.append(
                    f"{entry.name} of {entry.module} is skipped: its source does not declare the output of its call."
                )
            else:
                pipelines[entry.name] = _with_inherited(entry, ancestors[entry.name][1:], pipelines)
        for scheduler in other.schedulers:
            if ancestors[scheduler.name][0] == scheduler.module:
                schedulers[scheduler.name] = scheduler
            else:
                problems.append(_duplicate(scheduler.name, scheduler.module, ancestors[scheduler.name][0]))
    for problem in problems:
        logger.warning("%s", problem)
    merged = replace(
        library,
        pipelines=tuple(pipelines[name] for name in sorted(pipelines)),
        schedulers=tuple(schedulers[name] for name in sorted(schedulers)),
        ancestors=ancestors,
        plans=plans,
    )
    return merged, tuple(problems)


def prepare_import(module: str) -> None:
    """Register the package of the folder, so that its modules can be imported by name."""
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


def _duplicate(name: str, module: str, owner: str) -> str:
    return f"{name} of {module} is skipped, since {owner} has a class of this name. Rename it."


def _find_source(module: str) -> Path | None:
    """Return the folder or the file of a module, without importing it or its parent packages."""
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
