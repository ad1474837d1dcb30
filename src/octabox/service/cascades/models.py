"""The models of a server, cascades among them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.config.parsing import Entry
from octabox.config.problems import Problem
from octabox.errors import LoadError, OctaboxError
from octabox.service.cascades.problems import FindAccelerators, ModelProblems
from octabox.service.cascades.stages import Cascade, find_cascade, stage_configs
from octabox.service.checks.checker import bare_entry, entries_of
from octabox.service.conditions.lora import with_loras
from octabox.service.models import ModelService
from octabox.service.served_model import ServedModel
from octabox.types import ModelInfo, ModelStatus


class CascadeModelService(ModelService):
    """The models of this server; a cascade is served as one model."""

    _find_accelerators: FindAccelerators | None = None

    @cached_property
    def _removed_stages(self) -> dict[str, tuple[str, ...]]:
        """The models that cascades which were removed have loaded as their stages, by the names of these."""
        return {}

    @cached_property
    def _problems(self) -> ModelProblems:
        return ModelProblems(self._adapters, self._find_accelerators, self._limits)

    def check_devices_by(self, find: FindAccelerators) -> None:
        """Check the devices of configurations too, by what returns the accelerators when `prepare` is called."""
        self._find_accelerators = find

    def cascade(self, name: str) -> Cascade | None:
        """Return a cascade by name or alias; None for any other model.

        Raises:
            OctaboxError: There is no such model, or a stage has none.
        """
        config = self.config(name)
        return self._cascade(config) if config.stages else None

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems of the configurations, of cascades, and of the files of all models.

        Before the catalog has been read, they are those of the configurations that need no catalog.
        """
        configured = super().problems()
        if not self.ready():
            return configured
        return (*configured, *self._problems.find(self._entries(), *self._known(), self.catalog))

    async def prepare(self) -> None:
        """Read the catalog, look for the devices that configurations name, and log what is wrong.

        The server is ready once the catalog is read, however long the devices take.
        """
        devices = self._problems.find_accelerators(self._entries(), *self._known())
        await asyncio.gather(devices, asyncio.to_thread(load_catalog))
        await super().prepare()

    def sources(self, name: str) -> Sequence[ModelConfig]:
        """Return the configurations of the stages of a cascade; that of any other model alone."""
        config = self.config(name)
        return [each for _, each in stage_configs(config, *self._known())] if config.stages else super().sources(name)

    def _cascade(self, config: ModelConfig) -> Cascade:
        return find_cascade(config, *self._known(), self._stage_model)

    def _entries(self) -> list[Entry]:
        """Return all listed models, and those that were added."""
        return [*entries_of(self._registry.current()), *map(bare_entry, self._extra.values())]

    def _known(self) -> tuple[Mapping[str, ModelConfig], Path]:
        """Return the models that stages may name, and the folder of their files."""
        current = self._registry.current()
        return {**current.named, **self._extra}, current.folder

    def _stage_model(self, config: ModelConfig) -> ServedModel:
        model = super()._model(config)
        return replace(model, config=with_loras(model.config, self._adapters)) if model.config.adapters else model

    def _model(self, config: ModelConfig) -> ServedModel:
        return self._cascade(config).served(self.catalog) if config.stages else super()._model(config)

    def _info(self, config: ModelConfig) -> ModelInfo:
        if not config.stages:
            return super()._info(config)
        pipeline, tasks = None, tuple[str, ...]()
        with suppress(OctaboxError):
            # The classes of stages on the Hub are known only after a request.
            if all(Path(each.model).exists() for _, each in stage_configs(config, *self._known())):
                model = self._model(config)
                pipeline, tasks = model.pipeline.name, model.tasks(self.catalog)
        created = config.path.stat().st_mtime if config.path and config.path.exists() else 0.0
        source = " > ".join(stage.model for stage in config.stages)
        return ModelInfo(
            config.name, source, pipeline, tasks, created, config.description, response_format=config.response_format
        )

    async def load(self, name: str, keep_alive: float | None = None, pin: bool | None = None) -> ModelStatus:
        """Load a model into memory; of a cascade, that of its first stage, once no problem of the others is known.

        How long it stays there is changed for all stages of a cascade that are in memory.

        Raises:
            LoadError: A model cannot be loaded.
        """
        cascade = await asyncio.to_thread(self.cascade, name)
        if cascade is None:
            return await super().load(name, keep_alive, pin)
        await asyncio.to_thread(self._check_stages, cascade.config)
        model = cascade.stages[0].model
        if self._downloads is not None:
            await self._downloads.finish(model.config)
        status = await self._engine.load(model.config, model.pipeline.name)
        for stage in cascade.stages if keep_alive is not None or pin is not None else ():
            self._engine.retain(stage.model.config.name, keep_alive, pin)
        return status

    def _check_stages(self, config: ModelConfig) -> None:
        """Raise the first error among the problems of a cascade."""
        for problem in self._problems.find([bare_entry(config)], *self._known(), self.catalog):
            if problem.severity == "error":
                raise LoadError(f"Model '{config.name}': {problem.message}", hint=problem.hint, model=config.name)

    async def remove(self, name: str) -> bool:
        """Stop serving a model that was added, and unload it; of a cascade, all its stages.

        A load of a cascade may end after its removal; to remove it again unloads what that load has left in memory.
        """
        config = self._extra.pop(name, None)
        if config is not None:
            self._removed_stages[name] = await asyncio.to_thread(self._stage_names, config)
        unloaded = [await self._engine.unload(each) for each in (name, *self._removed_stages.get(name, ()))]
        return any(unloaded)

    def _stage_names(self, config: ModelConfig) -> tuple[str, ...]:
        """Return the names of the models that a configuration loads as stages, as far as they are known."""
        names: list[str] = []
        with suppress(OctaboxError):
            names += (each.name for _, each in stage_configs(config, *self._known()))
        return tuple(names)

    async def unload(self, name: str) -> bool:
        """Unload a model, of a cascade those of all its stages; return whether one was in memory."""
        try:
            cascade = await asyncio.to_thread(self.cascade, name)
        except OctaboxError:
            cascade = None
        if cascade is None:
            return await super().unload(name)
        return any([await self._engine.unload(stage.model.config.name) for stage in cascade.stages])
