"""The catalog of all pipelines and schedulers of the installed diffusers, built without importing it."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Mapping
from functools import cache, cached_property
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from octabox.catalog import cache as disk
from octabox.catalog import plugins, siblings, tasks
from octabox.catalog.entries import PackageMetadata, PipelineEntry, SchedulerEntry
from octabox.catalog.plugins import Plugin
from octabox.catalog.tasks import family_stem
from octabox.errors import (
    MissingDependencyError,
    PipelineNotFoundError,
    SchedulerNotFoundError,
    TaskNotFoundError,
    nearest,
)

logger = logging.getLogger(__name__)

#: The package that the catalog is built from.
PACKAGE = "diffusers"

#: The base class of all pipelines, which loads a model by the class that its index names.
BASE = "DiffusionPipeline"


class Catalog:
    """All classes that can be served, and the relations between them.

    Args:
        metadata: Package metadata from the source.
        problems: Problems of plugin pipelines.
    """

    def __init__(self, metadata: PackageMetadata, problems: tuple[str, ...] = ()) -> None:
        self.metadata = metadata
        self.problems = problems
        #: All pipeline classes, by name.
        self.pipelines: Mapping[str, PipelineEntry] = {entry.name: entry for entry in metadata.pipelines}
        #: All scheduler classes, by name.
        self.schedulers: Mapping[str, SchedulerEntry] = {entry.name: entry for entry in metadata.schedulers}
        #: Auto pipeline classes of diffusers, by task tag.
        self.automatic: Mapping[str, str] = metadata.automatic
        self._siblings: dict[tuple[str, frozenset[str]], tuple[PipelineEntry, ...]] = {}

    def pipeline(self, name: str) -> PipelineEntry:
        """Return the entry of a pipeline class."""
        try:
            return self.pipelines[name]
        except KeyError:
            raise self.no_pipeline(name) from None

    def scheduler(self, name: str) -> SchedulerEntry:
        """Return the entry of a scheduler class."""
        try:
            return self.schedulers[name]
        except KeyError:
            like = nearest(name, self.schedulers)
            hint = _did_you_mean(like) or "`octabox schedulers` lists them all."
            raise SchedulerNotFoundError(f"Unknown scheduler {name!r}.", hint=hint, choices=like) from None

    def tasks(self) -> tuple[str, ...]:
        """Return the tags of all tasks that pipelines serve."""
        return tuple(sorted({task for entry in self.pipelines.values() for task in entry.tasks}))

    def task(self, name: str) -> str:
        """Return the tag of a task, by the tag or an alias."""
        tag = tasks.tag_of(name) or (name if name in self.tasks() else None)
        if tag is None:
            like = nearest(name, (*self.tasks(), *tasks.vocabulary().aliases))
            hint = _did_you_mean(like) or f"Known tasks: {', '.join(self.tasks())}."
            raise TaskNotFoundError(f"Unknown task {name!r}.", hint=hint, choices=self.tasks())
        return tag

    def for_task(self, task: str, like: str | None = None, extra: frozenset[str] = frozenset()) -> PipelineEntry:
        """Return the class that serves a task: one that runs on the weights of ``like``, or the simplest one.

        Args:
            task: The task, by its tag or an alias.
            like: A class whose weights are to serve the task.
            extra: Components of the model in addition to those of ``like``.

        Raises:
            TaskNotFoundError: The task is unknown, or the model does not support it.
        """
        tag = self.task(task)
        if like is not None:
            return _sibling_for(tag, (self.pipeline(like), *self.siblings(like, extra)), self.tasks_like(like, extra))
        ranked = [entry for entry in self.ranking(tag) if not tasks.count_extra_inputs(entry, tag)]
        if not ranked:
            raise TaskNotFoundError(
                f"No pipeline serves {tag} without additional inputs.",
                hint=f"Served: {', '.join(self.tasks())}.",
                choices=self.tasks(),
            )
        return ranked[0]

    def tasks_like(self, name: str, extra: frozenset[str] = frozenset()) -> tuple[str, ...]:
        """Return all tasks that a class and its siblings serve, those of the class first."""
        entry = self.pipeline(name)
        return tuple(dict.fromkeys(task for each in (entry, *self.siblings(name, extra)) for task in each.tasks))

    def siblings(self, name: str, extra: frozenset[str] = frozenset()) -> tuple[PipelineEntry, ...]:
        """Return the other classes that run on the weights of a class, with these extra components."""
        if (name, extra) not in self._siblings:
            found = siblings.find_siblings(self.pipeline(name), self.pipelines, self.metadata.families, extra)
            self._siblings[name, extra] = found
        return self._siblings[name, extra]

    def ranking(self, task: str) -> list[PipelineEntry]:
        """Return all classes that serve a task, the simplest first.

        The order is: not deprecated, not modular, fewest additional inputs, position of the task among the tasks of the
        class, listed in the auto pipeline mappings of diffusers, largest family, shortest name.
        """
        found = [entry for entry in self.pipelines.values() if task in entry.tasks]
        return sorted(found, key=lambda entry: self._rank(entry, task))

    def _rank(self, entry: PipelineEntry, task: str) -> tuple[object, ...]:
        extra_inputs = tasks.count_extra_inputs(entry, task)
        size = self._family_sizes.get(entry.family, 0)
        unlisted = entry.name not in self._listed
        return (
            entry.deprecated,
            entry.modular,
            extra_inputs,
            entry.tasks.index(task),
            unlisted,
            -size,
            len(entry.name),
            entry.name,
        )

    @cached_property
    def _listed(self) -> frozenset[str]:
        return frozenset(name for members in self.metadata.families.values() for name in members.values())

    @cached_property
    def _family_sizes(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for entry in self.pipelines.values():
            if not entry.deprecated and not entry.modular:
                sizes[entry.family] = sizes.get(entry.family, 0) + 1
        return sizes

    @cached_property
    def _stems(self) -> dict[str, PipelineEntry]:
        entries = [entry for entry in self.pipelines.values() if not entry.modular]
        # The first of several entries counts.
        return {tasks.normalize_name(family_stem(entry.name)): entry for entry in reversed(entries)}

    def no_pipeline(self, name: str) -> PipelineNotFoundError:
        """Return the error for an unknown pipeline class."""
        known = sorted({*self.pipelines, *self.automatic.values()})
        like = nearest(name, known) or known[:3]
        hint = f"Available pipelines: {', '.join(like)}, ... (`octabox pipelines` lists all {len(self.pipelines)})."
        return PipelineNotFoundError(f"Unknown pipeline class {name!r}.", hint=hint, choices=like)

    def family(self, name: str) -> PipelineEntry | None:
        """Return the class of a family, such as ``stable-diffusion-xl``; None if the family is unknown."""
        family = tasks.vocabulary().families.get(tasks.normalize_name(name), tasks.normalize_name(name))
        if family in self._stems:
            return self._stems[family]
        members = next((row for key, row in self.metadata.families.items() if tasks.normalize_name(key) == family), {})
        found = [self.pipelines[each] for each in members.values() if each in self.pipelines]
        found += [entry for entry in self.pipelines.values() if tasks.normalize_name(entry.family) == family]
        return min(found, key=lambda entry: (entry.deprecated, entry.modular), default=None)

    def families(self) -> tuple[str, ...]:
        """Return the names of all families."""
        return tuple(sorted({entry.family for entry in self.pipelines.values()}))


def _sibling_for(task: str, family: tuple[PipelineEntry, ...], supported: tuple[str, ...]) -> PipelineEntry:
    """Return the class of a family, the model's own class first, that is most for a task."""
    serving = [each for each in family if task in each.tasks]
    if not serving:
        raise TaskNotFoundError(
            f"A model of {family[0].name} cannot do {task}.",
            hint=f"It can do: {', '.join(supported)}.",
            choices=supported,
        )
    return min(serving, key=lambda each: (each.tasks.index(task), family.index(each)))


@cache
def load_catalog() -> Catalog:
    """Return the catalog of the installed diffusers and of the plugins."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(f"The package {PACKAGE} is not installed.", hint=f"pip install {PACKAGE}")
    folder = Path(spec.submodule_search_locations[0])
    library = _installed_metadata(folder)
    added = [read_plugin_metadata(each, library, folder) for each in plugins.find_plugins()]
    return Catalog(*plugins.merge_plugins(library, added))


@cache
def _installed_metadata(folder: Path) -> PackageMetadata:
    """Return the metadata of diffusers; other plugins do not change it, so that a process loads it once."""
    return read_package_metadata(PACKAGE, folder)


def use_folder(folder: Path) -> None:
    """Add the pipelines in the files of a folder, for this process and the processes that it starts from now on.

    A missing folder holds none.
    """
    os.environ[plugins.FOLDER_VARIABLE] = str(folder.absolute())
    load_catalog.cache_clear()


def read_package_metadata(package: str, folder: Path) -> PackageMetadata:
    """Return the metadata of the package in a folder, from the cache if that is up to date."""
    return _cached(folder, _version(package), package)


def read_plugin_metadata(plugin: Plugin, library: PackageMetadata, folder: Path) -> PackageMetadata:
    """Return the metadata of a plugin, from the cache if that is up to date.

    Args:
        plugin: The plugin.
        library: Metadata of diffusers.
        folder: Source folder of diffusers.
    """
    # The metadata of a plugin depends on the classes that it inherits from.
    version = f"{plugin.version} on {PACKAGE} {_version(PACKAGE)} in {folder}"
    base = {"package": PACKAGE, "folder": folder, "modules": {name: row[0] for name, row in library.ancestors.items()}}
    try:
        return _cached(plugin.path, version, plugin.package, files=plugin.files, library=base)
    except Exception as error:
        logger.debug("Cannot read %s", plugin.path, exc_info=True)
        return PackageMetadata(broken={str(plugin.path): f"{type(error).__name__}: {error}"})


def _cached(path: Path, version: str, package: str, **source: Any) -> PackageMetadata:
    digest = disk.fingerprint(path, version)
    if (found := disk.load_metadata(path, digest)) is not None:
        return found
    with disk.locked(path):
        found = disk.load_metadata(path, digest)
        if found is None:
            logger.info("the source of %s is being read, which is done once for each version: %s", package, path)
            found = _read(package, path, **source)
            disk.save_metadata(path, digest, found)
    return found


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _read(
    package: str,
    folder: Path,
    files: Mapping[str, Path] | None = None,
    library: Mapping[str, Any] | None = None,
) -> PackageMetadata:
    # These modules are needed only if there is no cache.
    from octabox.catalog.reading import package as reader  # noqa: PLC0415
    from octabox.catalog.reading.source import Library  # noqa: PLC0415

    # Syntax trees hold no cycles, and garbage collection would double the time.
    was_on = gc.isenabled()
    gc.disable()
    try:
        return reader.read_package(package, folder, files, Library(**library) if library else None)
    finally:
        if was_on:
            gc.enable()


def _did_you_mean(names: list[str]) -> str:
    return f"Did you mean {' or '.join(names)}?" if names else ""
