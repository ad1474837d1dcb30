"""Which models there are, what they can be asked, and which are in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from octabox import demo
from octabox.catalog.conditions.ip_adapter import with_scale
from octabox.catalog.pipelines import Catalog, load_catalog
from octabox.catalog.resolution import pipeline_of
from octabox.catalog.signature import json_schema
from octabox.config.discovery import ModelRegistry
from octabox.config.model import ModelConfig
from octabox.config.problems import Problem
from octabox.engine.protocol import Engine
from octabox.errors import ModelNotFoundError, OctaboxError
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.hub.checkpoints.families import recognise
from octabox.hub.folder import takes_its_own_input
from octabox.hub.inspect import is_hub_id, model_index
from octabox.service.conditions.lora import with_loras
from octabox.service.model_schedulers import ModelSchedulers, model_schedulers, scheduler_incompatibility_of
from octabox.service.selection.pipelines import choose, family_of
from octabox.service.served_model import ServedModel
from octabox.types import ModelInfo, ModelStatus

#: The class that all others derive from: as a model's pipeline it means the model's own.
BASE = "DiffusionPipeline"


#: Written out here, since inside the class `list` is a method.
Statuses = list[ModelStatus]


class ModelService:
    """The models of this server.

    Args:
        shelves: Their configurations.
        engine: Where they are held in memory.
        allow_hub: Whether a Hub id that is not configured is a model too.
        extra: Models besides those on the shelves; they win over a shelf's of the same name.
        adapters: The LoRAs and embeddings of this server; none, if not given.
    """

    def __init__(
        self,
        shelves: ModelRegistry,
        engine: Engine,
        *,
        allow_hub: bool = False,
        extra: Mapping[str, ModelConfig] | None = None,
        adapters: AdapterRegistry | None = None,
    ) -> None:
        self._shelves, self._engine, self._allow_hub = shelves, engine, allow_hub
        self._extra = dict(extra or {})
        self._adapters = adapters or AdapterRegistry(None, None)
        self._named: dict[tuple[str, str | None], str] = {}

    @property
    def catalog(self) -> Catalog:
        """The catalog of pipelines and schedulers."""
        return load_catalog()

    @property
    def adapters(self) -> AdapterRegistry:
        """The LoRAs and embeddings of this server."""
        return self._adapters

    def ready(self) -> bool:
        """Return whether requests can be served at once: the catalog has been read."""
        return load_catalog.cache_info().currsize > 0

    async def prepare(self) -> None:
        """Get ready: read the catalog, which takes seconds when diffusers is new, and nothing else waits for it."""
        await asyncio.to_thread(load_catalog)

    def configurations(self) -> Sequence[ModelConfig]:
        """Return the configurations of all listed models, by name."""
        return [config for _, config in sorted(self._listed().items())]

    def list(self) -> list[ModelInfo]:
        """Return all configured models, by name."""
        return [self._info(config) for config in self.configurations()]

    def problems(self) -> tuple[Problem, ...]:
        """Return what is wrong with the configurations; the models that they are of are not served."""
        return self._shelves.current().problems

    def only_embedded(self) -> bool:
        """Return whether the embedded model is the only one."""
        return [config.name for config in self.configurations()] == [demo.NAME]

    def get(self, name: str) -> ModelInfo:
        """Return what is known of a model without loading it."""
        return self._info(self.config(name))

    def config(self, name: str) -> ModelConfig:
        """Return a model's configuration.

        Raises:
            ModelNotFoundError: There is none under this name.
        """
        if name in self._extra:
            return self._extra[name]
        try:
            return self._shelves.current().find(name)
        except ModelNotFoundError as error:
            if not is_hub_id(name):
                raise
            if not self._allow_hub:
                error.hint = "Start the server with --allow-hub, or write a configuration for it."
                raise
            return ModelConfig(name=name, model=name)

    def _listed(self) -> Mapping[str, ModelConfig]:
        return {**self._shelves.current().models, **self._extra}

    async def served(self, name: str) -> ServedModel:
        """Return a model's configuration and its own pipeline class; for a Hub id that may fetch one small file."""
        return await asyncio.to_thread(self._served, name)

    def _served(self, name: str) -> ServedModel:
        return self._model(with_loras(self.config(name), self._adapters))

    def _model(self, config: ModelConfig) -> ServedModel:
        own = self.catalog.pipeline(self._pipeline_name(config))
        return ServedModel(config.as_a(own.name), own, takes_its_own_input(Path(config.model)))

    def _tasks(self, model: ServedModel) -> tuple[str, ...]:
        """Return all tasks that a model can do, its own first."""
        family = family_of(self.catalog, model.own, model.extra, alone=model.alone)
        return tuple(dict.fromkeys(task for entry in family for task in entry.tasks))

    def schema(self, name: str, task: str | None = None) -> dict[str, Any]:
        """Return the JSON Schema of what may be asked of a model for a task; without a task, of its own class."""
        model = self._model(self.config(name))
        entry, served = model.own, next(iter(model.own.tasks), None)
        if task is not None or served is None:
            entry, served = choose(self.catalog, model.own, task, extra=model.extra, alone=model.alone)
        schema = json_schema(with_scale(entry, tuple(each.scale for each in model.config.ip_adapters)))
        for parameter, value in model.config.defaults.items():
            if parameter in schema["properties"]:
                schema["properties"][parameter] = {**schema["properties"][parameter], "default": value}
        return {
            **schema,
            "x-pipeline": entry.name,
            "x-task": served,
            "x-tasks": list(self._tasks(model)),
        }

    def schedulers(self, name: str) -> ModelSchedulers:
        """Return which noise schedulers fit a model; for a Hub id that may fetch one small file."""
        return model_schedulers(self._model(self.config(name)), self.catalog)

    def scheduler_incompatibility(self, name: str, scheduler: str) -> str:
        """Return why a scheduler of any name does not fit a model; nothing where it does."""
        return scheduler_incompatibility_of(scheduler, self._model(self.config(name)), self.catalog)

    def add(self, config: ModelConfig) -> None:
        """Serve a model besides those on the shelves, in place of one of the same name."""
        # Its files may be others than those that were there when it was last looked at.
        self._named.pop((config.model, config.pipeline), None)
        self._extra[config.name] = config

    async def remove(self, name: str) -> bool:
        """Serve a model no longer that was added, and take it out of memory; return whether it was there."""
        return self._extra.pop(name, None) is not None and await self._engine.unload(name)

    async def load(self, name: str) -> ModelStatus:
        """Bring a model into memory."""
        model = await self.served(name)
        return await self._engine.load(model.config, model.own.name)

    async def unload(self, name: str) -> bool:
        """Take a model out of memory; return whether it was there."""
        return await self._engine.unload(self.config(name).name)

    def status(self) -> Statuses:
        """Return the models in memory or on their way there."""
        return self._engine.status()

    def _pipeline_name(self, config: ModelConfig) -> str:
        """Return a model's own pipeline class, by its configuration or by what its files say."""
        key = (config.model, config.pipeline)
        if key not in self._named:
            self._named[key] = self._find_pipeline(config)
        return self._named[key]

    def _find_pipeline(self, config: ModelConfig) -> str:
        if config.pipeline in self.catalog.pipelines:
            return str(config.pipeline)
        if Path(config.model).is_file():
            own = recognise(Path(config.model)).pipeline
        else:
            own = pipeline_of(model_index(config.model, config.revision), self.catalog, source=config.name)
        chosen = config.pipeline
        if chosen is None or chosen == BASE:
            return own
        # A class that chooses a pipeline for a task means, for this model, its own sibling for that task.
        task = next((tag for tag, name in self.catalog.automatic.items() if name == chosen), chosen)
        return self.catalog.for_task(task, like=own).name

    def _info(self, config: ModelConfig) -> ModelInfo:
        created = config.path.stat().st_mtime if config.path and config.path.exists() else 0.0
        return ModelInfo(config.name, config.model, *self._local_facts(config), created, config.description)

    def _local_facts(self, config: ModelConfig) -> tuple[str | None, tuple[str, ...]]:
        """Return a model's class and tasks where that needs no network."""
        if config.pipeline is None and not Path(config.model).exists():
            return None, ()
        try:
            model = self._model(config)
            return model.own.name, self._tasks(model)
        except OctaboxError:
            return config.pipeline, ()
