"""Check the files of all models of a folder, each again only after one of its files has changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from octabox.catalog.pipelines import Catalog
from octabox.config.discovery import ModelFolder
from octabox.config.model import ModelConfig
from octabox.config.parsing import Entry
from octabox.config.problems import Problem
from octabox.engine.memory.places import model_path
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.service.checks.model_files import Resolve, find_model_problems
from octabox.service.conditions.lora import with_loras


class ModelChecker:
    """Finds the problems of the files of models. Not thread-safe, but calls at the same time only repeat work.

    Args:
        adapters: The LoRAs of the server.
        resolve: Resolves a model to its pipeline class, by its current files.
    """

    def __init__(self, adapters: AdapterRegistry, resolve: Resolve) -> None:
        self._adapters, self._resolve = adapters, resolve
        self._found: dict[str, tuple[object, tuple[Problem, ...]]] = {}

    def problems(self, entries: Iterable[Entry], catalog: Catalog) -> list[Problem]:
        """Return the problems of the files of these models; those of cascades are their stages."""
        found: list[Problem] = []
        for entry in entries:
            if not entry.config.stages:
                found += self._check(replace(entry, config=with_loras(entry.config, self._adapters)), catalog)
        return found

    def _check(self, entry: Entry, catalog: Catalog) -> tuple[Problem, ...]:
        fingerprint = (entry.config, entry.file, _fingerprint(entry.config))
        known = self._found.get(entry.config.name)
        if known is None or known[0] != fingerprint:
            known = fingerprint, tuple(find_model_problems(entry, catalog, self._resolve, self._adapters))
            self._found[entry.config.name] = known
        return known[1]


def entries_of(folder: ModelFolder) -> list[Entry]:
    """Return the listed models of a folder: those with a configuration file, and folders and files without one."""
    configured = [entry for entry in folder.entries if entry.config.name in folder.models]
    names = {entry.config.name for entry in configured}
    return [
        *configured,
        *(
            bare_entry(config)
            for name, config in folder.models.items()
            if name not in names and config is not folder.default
        ),
    ]


def bare_entry(config: ModelConfig) -> Entry:
    """Return a model without a configuration file, whose problems are those of its folder or file."""
    return Entry(config, Path(config.model))


def _fingerprint(config: ModelConfig) -> object:
    """Return a value that changes with a download of a model, and with any file of it, its components and its adapters."""
    return model_path(config), tuple(stamp for source in _sources(config) for stamp in _stamps(source))


def _sources(config: ModelConfig) -> Iterator[str]:
    yield config.model
    yield config.config or ""
    yield from (part.model or "" for _, part in config.parts())
    yield from (lora.lora for lora in config.adapters)
    yield from (each.model for each in config.ip_adapters)


def _stamps(source: str, levels: int = 2) -> Iterator[tuple[str, int, int]]:
    """Yield the path, the size and the time of modification of a file, or of those of a folder and its subfolders."""
    try:
        status = os.stat(source)  # noqa: PTH116 (this walks through thousands of files)
    except (OSError, ValueError):
        return
    yield source, status.st_size, status.st_mtime_ns
    if levels and stat.S_ISDIR(status.st_mode):
        try:
            names = sorted(os.listdir(source))  # noqa: PTH208 (likewise)
        except OSError:
            return
        for name in names:
            yield from _stamps(f"{source}{os.sep}{name}", levels - 1)
