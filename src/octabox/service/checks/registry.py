"""The models of a folder that can be served: those whose configuration has no error."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from octabox.catalog.pipelines import load_catalog
from octabox.config.discovery import ModelFolder, ModelRegistry
from octabox.config.problems import Problem
from octabox.service.bounds import Limits
from octabox.service.checks.configuration import find_problems


class CheckedRegistry:
    """The current models of a folder, without those that `find_problems` has an error for.

    Args:
        registry: The models folder.
        limits: Limits of the values of a request.
    """

    def __init__(self, registry: ModelRegistry, limits: Limits) -> None:
        self._registry, self._limits = registry, limits
        self._checked: tuple[ModelFolder, ModelFolder] | None = None

    def read(self) -> ModelFolder:
        """Return the current models, those with an error among them; this looks for changes in the folder."""
        return self._registry.current()

    def check(self, folder: ModelFolder) -> ModelFolder:
        """Return a folder without the models with an error; with them, before the catalog has been read."""
        if load_catalog.cache_info().currsize == 0:
            return folder
        checked = self._checked
        if checked is None or checked[0] is not folder:
            self._checked = checked = folder, self._without_errors(folder)
        return checked[1]

    def _without_errors(self, folder: ModelFolder) -> ModelFolder:
        """Return a folder without the models that have an error, and with all problems."""
        found: dict[str, list[Problem]] = {
            entry.config.name: find_problems([entry], load_catalog(), self._limits) for entry in folder.entries
        }
        errors = {
            name: next((problem for problem in problems if problem.severity == "error"), None)
            for name, problems in found.items()
        }
        refused = {name: problem for name, problem in errors.items() if problem is not None}
        refused |= {alias.name: refused[alias.model] for alias in folder.aliases if alias.model in refused}
        models = {name: config for name, config in folder.models.items() if name not in refused}
        problems = (*folder.problems, *chain.from_iterable(found.values()))
        return replace(
            folder, models=models or {folder.default.name: folder.default}, problems=problems, refused=refused
        )
