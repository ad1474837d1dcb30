"""The catalog: every pipeline and scheduler that the installed diffusers has, found without importing it."""

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

#: The package that is read.
PACKAGE = "diffusers"


class Catalog:
    """What can be served, and how it hangs together.

    Args:
        facts: What was read from source.
        problems: What is wrong with pipelines that are not of diffusers.
    """

    def __init__(self, facts: PackageMetadata, problems: tuple[str, ...] = ()) -> None:
        self.metadata = facts
        self.problems = problems
        #: Every pipeline class, by name.
        self.pipelines: Mapping[str, PipelineEntry] = {entry.name: entry for entry in facts.pipelines}
        #: Every scheduler class, by name.
        self.schedulers: Mapping[str, SchedulerEntry] = {entry.name: entry for entry in facts.schedulers}
        #: Diffusers' classes that choose a pipeline for a task, by the task's tag.
        self.automatic: Mapping[str, str] = facts.automatic
        self._siblings: dict[tuple[str, frozenset[str]], tuple[PipelineEntry, ...]] = {}

    def pipeline(self, name: str) -> PipelineEntry:
        """Return the pipeline class of this name."""
        try:
            return self.pipelines[name]
        except KeyError:
            raise self.no_pipeline(name) from None

    def scheduler(self, name: str) -> SchedulerEntry:
        """Return the scheduler class of this name."""
        try:
            return self.schedulers[name]
        except KeyError:
            like = nearest(name, self.schedulers)
            hint = _did_you_mean(like) or "`octabox schedulers` lists them all."
            raise SchedulerNotFoundError(f"Unknown scheduler {name!r}.", hint=hint, choices=like) from None

    def tasks(self) -> tuple[str, ...]:
        """Return the tag of every task that some pipeline serves."""
        return tuple(sorted({task for entry in self.pipelines.values() for task in entry.tasks}))

    def task(self, name: str) -> str:
        """Return the tag of a task by any of its names."""
        tag = tasks.tag_of(name) or (name if name in self.tasks() else None)
        if tag is None:
            like = nearest(name, (*self.tasks(), *tasks.vocabulary().aliases))
            hint = _did_you_mean(like) or f"Known tasks: {', '.join(self.tasks())}."
            raise TaskNotFoundError(f"Unknown task {name!r}.", hint=hint, choices=self.tasks())
        return tag

    def for_task(self, task: str, like: str | None = None, extra: frozenset[str] = frozenset()) -> PipelineEntry:
        """Return the class that serves a task: on the weights of ``like``, or the plainest that needs nothing else.

        Args:
            task: The task by any of its names.
            like: A class whose weights are to serve it.
            extra: Components that are there beside those of ``like``.

        Raises:
            TaskNotFoundError: There is no such task, or the model cannot do it.
        """
        tag = self.task(task)
        if like is not None:
            return self._sibling_for(tag, self.pipeline(like), extra)
        ranked = [entry for entry in self.ranking(tag) if not tasks.count_extra_inputs(entry, tag)]
        if not ranked:
            raise TaskNotFoundError(
                f"No pipeline serves {tag} by itself.", hint=f"Served: {', '.join(self.tasks())}.", choices=self.tasks()
            )
        return ranked[0]

    def tasks_like(self, name: str, extra: frozenset[str] = frozenset()) -> tuple[str, ...]:
        """Return all tasks that a class and its siblings serve, its own first."""
        entry = self.pipeline(name)
        return tuple(dict.fromkeys(task for each in (entry, *self.siblings(name, extra)) for task in each.tasks))

    def siblings(self, name: str, extra: frozenset[str] = frozenset()) -> tuple[PipelineEntry, ...]:
        """Return the other classes that run on the weights of this one, with these components beside them."""
        if (name, extra) not in self._siblings:
            found = siblings.find_siblings(self.pipeline(name), self.pipelines, self.metadata.families, extra)
            self._siblings[name, extra] = found
        return self._siblings[name, extra]

    def ranking(self, task: str) -> list[PipelineEntry]:
        """Return every class that serves a task, the plainest first.

        A deprecated class stands last, and one that needs more than the task brings behind those that do not. Among the
        rest, classes made for this very task come first, of them those in diffusers' own tables, of them those of the
        largest family, of them the one with the shortest name.
        """
        found = [entry for entry in self.pipelines.values() if task in entry.tasks]
        return sorted(found, key=lambda entry: self._rank(entry, task))

    def _rank(self, entry: PipelineEntry, task: str) -> tuple[object, ...]:
        need = tasks.count_extra_inputs(entry, task)
        size = self._family_sizes.get(entry.family, 0)
        unlisted = entry.name not in self._listed
        return (
            entry.deprecated,
            entry.modular,
            need,
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

    def _sibling_for(self, task: str, entry: PipelineEntry, extra: frozenset[str]) -> PipelineEntry:
        family = (entry, *self.siblings(entry.name, extra))
        serving = [each for each in family if task in each.tasks]
        if not serving:
            can = self.tasks_like(entry.name, extra)
            raise TaskNotFoundError(
                f"A model of {entry.name} cannot do {task}.", hint=f"It can do: {', '.join(can)}.", choices=can
            )
        return min(serving, key=lambda each: (each.tasks.index(task), family.index(each)))

    def no_pipeline(self, name: str) -> PipelineNotFoundError:
        """Return the error for a name that is no pipeline's."""
        known = sorted({*self.pipelines, *self.automatic.values()})
        like = nearest(name, known) or known[:3]
        hint = f"Available pipelines: {', '.join(like)}, ... (`octabox pipelines` lists all {len(self.pipelines)})."
        return PipelineNotFoundError(f"Unknown pipeline class {name!r}.", hint=hint, choices=like)

    def family(self, name: str) -> PipelineEntry | None:
        """Return the class that a family's name means, such as ``stable-diffusion-xl``; None where it means none."""
        wanted = tasks.vocabulary().families.get(tasks.normalize_name(name), tasks.normalize_name(name))
        own = [
            entry
            for entry in self.pipelines.values()
            if not entry.modular and tasks.normalize_name(family_stem(entry.name)) == wanted
        ]
        if own:
            return own[0]
        members = next((row for key, row in self.metadata.families.items() if tasks.normalize_name(key) == wanted), {})
        return next((self.pipelines[each] for each in members.values() if each in self.pipelines), None)

    def families(self) -> tuple[str, ...]:
        """Return the names of all families."""
        return tuple(sorted({entry.family for entry in self.pipelines.values()}))


@cache
def load_catalog() -> Catalog:
    """Return the catalog of the installed diffusers, and of the pipelines that plugins add to it."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(f"The package {PACKAGE} is not installed.", hint=f"pip install {PACKAGE}")
    folder = Path(spec.submodule_search_locations[0])
    facts = read_package_metadata(PACKAGE, folder)
    return Catalog(
        *plugins.merge_plugins(facts, [read_plugin_metadata(each, facts, folder) for each in plugins.find_plugins()])
    )


def use_folder(folder: Path) -> None:
    """Take pipelines from the single files of a folder too, in this process and in those that it starts from now on.

    A folder that is not there holds none.
    """
    os.environ[plugins.FOLDER_VARIABLE] = str(folder.absolute())
    load_catalog.cache_clear()


def read_package_metadata(package: str, folder: Path) -> PackageMetadata:
    """Return what the source in a folder says, from the cache where that is up to date."""
    return _cached(folder, _version(package), package)


def read_plugin_metadata(plugin: Plugin, facts: PackageMetadata, folder: Path) -> PackageMetadata:
    """Return what a plugin's source says, from the cache where that is up to date.

    Args:
        plugin: Where it is.
        facts: What was read of diffusers.
        folder: Where diffusers lies.
    """
    # A plugin's classes are what they inherit, too.
    version = f"{plugin.version} on {PACKAGE} {_version(PACKAGE)} in {folder}"
    library = {"package": PACKAGE, "folder": folder, "modules": {name: row[0] for name, row in facts.ancestors.items()}}
    try:
        return _cached(plugin.path, version, plugin.package, files=plugin.files, library=library)
    except Exception as error:
        logger.debug("Cannot read %s", plugin.path, exc_info=True)
        return PackageMetadata(broken={str(plugin.path): f"{type(error).__name__}: {error}"})


def _cached(place: Path, version: str, package: str, **source: Any) -> PackageMetadata:
    seal = disk.fingerprint(place, version)
    facts = disk.load_metadata(place, seal)
    if facts is None:
        logger.debug("Reading the source of %s in %s", package, place)
        facts = _read(package, place, **source)
        disk.save_metadata(place, seal, facts)
    return facts


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
    # Reading takes seconds and its modules are needed only then.
    from octabox.catalog.reading import package as reader  # noqa: PLC0415
    from octabox.catalog.reading.source import Library  # noqa: PLC0415

    # Trees of source hold no cycles worth looking for, and the search would double the time.
    was_on = gc.isenabled()
    gc.disable()
    try:
        return reader.read_package(package, folder, files, Library(**library) if library else None)
    finally:
        if was_on:
            gc.enable()


def _did_you_mean(names: list[str]) -> str:
    return f"Did you mean {' or '.join(names)}?" if names else ""
