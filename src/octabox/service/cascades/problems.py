"""Find all that loading models would fail with, for the server and for `octabox check`: stages, files and devices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path

from octabox.catalog.pipelines import Catalog
from octabox.config.model import ModelConfig
from octabox.config.parsing import Entry
from octabox.config.problems import Problem
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.service.bounds import Limits
from octabox.service.cascades.checks import find_stage_problems, stage_entries
from octabox.service.checks.checker import ModelChecker
from octabox.service.checks.configuration import find_problems
from octabox.service.checks.devices import find_device_problems, names_device
from octabox.service.selection.resolver import resolve_current

#: Returns the accelerators of this machine, such as ``cuda:0``; None where they cannot be listed.
FindAccelerators = Callable[[], Awaitable[Collection[str] | None]]


class ModelProblems:
    """Finds the problems of models that their configurations alone do not show.

    The files of a model are looked at again only after a change. Devices are checked once `find_accelerators` has found them.

    Args:
        adapters: The LoRAs of the server.
        find_accelerators: Lists the accelerators; without it, devices are not checked.
        limits: Limits of the values of a request.
    """

    def __init__(
        self,
        adapters: AdapterRegistry,
        find_accelerators: FindAccelerators | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._checker, self._limits = ModelChecker(adapters, resolve_current), limits or Limits()
        self._find_accelerators = find_accelerators
        self._accelerators: Collection[str] | None = None

    async def find_accelerators(self, entries: Sequence[Entry], named: Mapping[str, ModelConfig], folder: Path) -> None:
        """List the accelerators if a model names a device, which takes a process that imports torch.

        Args:
            entries: The models.
            named: The models that stages of cascades may name.
            folder: The models folder.
        """
        if self._find_accelerators is None or self._accelerators is not None:
            return
        if any(map(names_device, _with_stages(entries, named, folder))):
            self._accelerators = await self._find_accelerators()

    def find(
        self, entries: Sequence[Entry], named: Mapping[str, ModelConfig], folder: Path, catalog: Catalog
    ) -> list[Problem]:
        """Return the problems of models; nothing is fetched for those of the Hub.

        Args:
            entries: The models.
            named: The models that stages of cascades may name.
            folder: The models folder.
            catalog: All pipelines and schedulers.
        """
        stages = stage_entries(entries, named, folder)
        found = find_stage_problems(entries, named, folder, catalog, self._limits)
        found += find_problems(stages, catalog, self._limits)
        entries = [*entries, *stages]
        found += self._checker.problems(entries, catalog)
        if self._accelerators is not None:
            found += find_device_problems(entries, self._accelerators)
        return found


def _with_stages(entries: Sequence[Entry], named: Mapping[str, ModelConfig], folder: Path) -> list[Entry]:
    """Return models, and those of the stages of cascades that are not configured models."""
    return [*entries, *stage_entries(entries, named, folder)]
