"""The models of a server: the snapshots that requests see, and which models are in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

from octabox.catalog.pipelines import Catalog, load_catalog
from octabox.config.discovery import ModelRegistry
from octabox.config.model import ModelConfig
from octabox.config.parsing import Entry
from octabox.config.problems import Problem
from octabox.engine.protocol import Engine
from octabox.errors import LoadError, OctaboxError
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.service.bounds import Limits
from octabox.service.cascades.problems import FindAccelerators, ModelProblems
from octabox.service.cascades.stages import Cascade, stage_configs
from octabox.service.checks.checker import bare_entry, entries_of
from octabox.service.checks.registry import CheckedRegistry
from octabox.service.hub.downloads import ModelDownloads
from octabox.service.models.snapshot import ModelSnapshot
from octabox.service.selection.resolver import ModelResolver
from octabox.service.served_model import ServedModel
from octabox.types import ModelStatus

logger = logging.getLogger("octabox.service")


class ServerModels:
    """The models of this server; a cascade is served as one model.

    Args:
        registry: The models folder.
        engine: Holds the models in memory.
        allow_hub: Whether a Hub id without a configuration is a model too.
        extra: Models in addition to those of the folder; they take precedence over those with the same name.
        adapters: The LoRAs and embeddings of this server; none, if not given.
        limits: Limits of the values of a request, which configurations must keep too.
        downloads: Downloads models before they are loaded; without it, loading does.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        engine: Engine,
        *,
        allow_hub: bool = False,
        extra: Mapping[str, ModelConfig] | None = None,
        adapters: AdapterRegistry | None = None,
        limits: Limits | None = None,
        downloads: ModelDownloads | None = None,
    ) -> None:
        self._engine, self._downloads, self._limits = engine, downloads, limits or Limits()
        self._registry, self._extra, self._allow_hub = (
            CheckedRegistry(registry, self._limits),
            dict(extra or {}),
            allow_hub,
        )
        self.adapters = adapters or AdapterRegistry(None, None)
        self._resolver = ModelResolver()
        self._problems = ModelProblems(self.adapters, limits=self._limits)
        # The models that cascades which were removed have loaded as their stages, by the names of these.
        self._removed_stages: dict[str, tuple[str, ...]] = {}

    def check_devices_by(self, find: FindAccelerators) -> None:
        """Check the devices of configurations too, by what returns the accelerators when `prepare` is called."""
        self._problems = ModelProblems(self.adapters, find, self._limits)

    @property
    def catalog(self) -> Catalog:
        """The catalog of pipelines and schedulers."""
        return load_catalog()

    def snapshot(self) -> ModelSnapshot:
        """Return the models as they are now, for one request; this looks for changes in the models folder."""
        return ModelSnapshot(
            self._registry.read(),
            dict(self._extra),
            self._registry.check,
            self._resolver,
            self.adapters,
            self._limits,
            self._allow_hub,
        )

    def ready(self) -> bool:
        """Return whether requests can be served without delay: the catalog has been read."""
        return load_catalog.cache_info().currsize > 0

    async def prepare(self) -> None:
        """Read the catalog, look for the devices that configurations name, and log what is wrong.

        The server is ready once the catalog is read, however long the devices take.
        """
        models = self.snapshot()
        known = models.folder.problems
        devices = self._problems.find_accelerators(_entries(models), models.named, models.folder.folder)
        await asyncio.gather(devices, asyncio.to_thread(load_catalog))
        for problem in await asyncio.to_thread(self.problems):
            if problem not in known:
                logger.log(logging.ERROR if problem.severity == "error" else logging.WARNING, "%s", problem)

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems of the configurations, of cascades, and of the files of all models.

        Before the catalog has been read, they are those of the configurations that need no catalog.
        """
        models = self.snapshot()
        configured = models.folder.problems
        if not self.ready():
            return configured
        found = self._problems.find(_entries(models), models.named, models.folder.folder, self.catalog)
        return (*configured, *found)

    async def served(self, name: str) -> ServedModel:
        """Return a model with its pipeline class, as they are now."""
        return await asyncio.to_thread(lambda: self.snapshot().resolve(name))

    def add(self, config: ModelConfig) -> None:
        """Serve a model in addition to those of the folder, in place of one with the same name."""
        self._resolver.forget(config.name)
        self._extra[config.name] = config

    async def remove(self, name: str) -> bool:
        """Stop serving a model that was added, and unload it; of a cascade, all its stages.

        A load may end after the removal of its model; to remove it again unloads what that load has left in memory.
        """
        config = self._extra.pop(name, None)
        if config is not None:
            self._removed_stages[name] = await asyncio.to_thread(lambda: _stage_names(config, self.snapshot()))
        unloaded = [await self._engine.unload(each) for each in (name, *self._removed_stages.get(name, ()))]
        return any(unloaded)

    async def load(self, name: str, keep_alive: float | None = None, pin: bool | None = None) -> ModelStatus:
        """Load a model into memory; of a cascade, that of its first stage, once no problem of the others is known.

        How long it stays there is changed for all stages of a cascade that are in memory; None leaves that as it is configured.

        Raises:
            LoadError: A model cannot be loaded.
        """
        models = await asyncio.to_thread(self.snapshot)
        cascade = await asyncio.to_thread(models.cascade, name)
        if cascade is not None:
            await asyncio.to_thread(_check_stages, cascade.config, models, self._problems)
        model = cascade.stages[0].model if cascade else await asyncio.to_thread(models.resolve, name)
        if self._downloads is not None:
            await self._downloads.finish(model.config)
        status = await self._engine.load(model.config, model.pipeline.name)
        if keep_alive is None and pin is None:
            return status
        if cascade is not None:
            for stage in cascade.stages:
                self._engine.retain(stage.model.config.name, keep_alive, pin)
            return status
        self._engine.retain(model.config.name, keep_alive, pin)
        return next((each for each in self.status() if model.config.name in (each.model, *each.names)), status)

    async def unload(self, name: str) -> bool:
        """Unload a model, which may not be configured any more, or the stages of a cascade; return whether it was loaded."""
        models = await asyncio.to_thread(self.snapshot)
        cascade: Cascade | None = None
        with suppress(OctaboxError):
            cascade = await asyncio.to_thread(models.cascade, name)
        if cascade is not None:
            return any([await self._engine.unload(stage.model.config.name) for stage in cascade.stages])
        loaded = any(name in (status.model, *status.names) for status in self.status())
        return await self._engine.unload(name if loaded else models.config(name).name)

    def status(self) -> list[ModelStatus]:
        """Return the models in memory or on their way there."""
        return self._engine.status()

    def waiting(self) -> Mapping[str, int]:
        """Return how many requests wait by model, also of models that have no place in memory yet."""
        return self._engine.waiting()


def _entries(models: ModelSnapshot) -> list[Entry]:
    """Return all listed models, and those that were added."""
    return [*entries_of(models.folder), *map(bare_entry, models.extra.values())]


def _check_stages(config: ModelConfig, models: ModelSnapshot, problems: ModelProblems) -> None:
    """Raise the first error among the problems of a cascade."""
    for problem in problems.find([bare_entry(config)], models.named, models.folder.folder, models.catalog):
        if problem.severity == "error":
            raise LoadError(f"Model '{config.name}': {problem.message}", hint=problem.hint, model=config.name)


def _stage_names(config: ModelConfig, models: ModelSnapshot) -> tuple[str, ...]:
    """Return the names of the models that a configuration loads as stages, as far as they are known."""
    names: list[str] = []
    with suppress(OctaboxError):
        names += (each.name for _, each in stage_configs(config, models.named, models.folder.folder))
    return tuple(names)
