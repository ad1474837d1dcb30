"""The models of a server: their parameters, their schedulers, and which are in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from octabox import demo
from octabox.catalog.conditions.ip_adapter import add_scale_parameter
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog, load_catalog
from octabox.catalog.signature import json_schema
from octabox.config.aliases import Alias
from octabox.config.discovery import ModelRegistry
from octabox.config.model import ModelConfig
from octabox.engine.protocol import Engine
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.media.formats import formats_of
from octabox.schedulers.compatibility import Incompatibility
from octabox.service.bounds import Limits
from octabox.service.checks.registry import CheckedRegistry
from octabox.service.conditions.lora import with_loras
from octabox.service.forms.hints import add_form_hints
from octabox.service.forms.model_sizes import ModelSizes
from octabox.service.hub.downloads import ModelDownloads
from octabox.service.model_schedulers import ModelSchedulers, find_incompatibility, model_schedulers
from octabox.service.outputs import output_kinds
from octabox.service.selection.configured import ConfiguredModels
from octabox.service.selection.pipelines import default_pipeline
from octabox.service.selection.resolver import ModelResolver
from octabox.service.served_model import ServedModel
from octabox.types import ModelInfo, ModelStatus, SchedulerChoice

logger = logging.getLogger("octabox.service")

#: Defined here, since `list` is a method in the class.
Statuses = list[ModelStatus]


class ModelService(ConfiguredModels):
    """The models of this server.

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
        self._downloads, self._limits = downloads, limits or Limits()
        self._engine, self._adapters = engine, adapters or AdapterRegistry(None, None)
        super().__init__(CheckedRegistry(registry, self._limits), extra or {}, allow_hub=allow_hub)
        self._resolver = ModelResolver()

    @property
    def catalog(self) -> Catalog:
        """The catalog of pipelines and schedulers."""
        return load_catalog()

    @property
    def adapters(self) -> AdapterRegistry:
        """The LoRAs and embeddings of this server."""
        return self._adapters

    def ready(self) -> bool:
        """Return whether requests can be served without delay: the catalog has been read."""
        return load_catalog.cache_info().currsize > 0

    async def prepare(self) -> None:
        """Read the catalog, which takes seconds for a new version of diffusers, and log what it shows to be wrong."""
        known = self._registry.current().problems
        await asyncio.to_thread(load_catalog)
        for problem in await asyncio.to_thread(self.problems):
            if problem not in known:
                logger.log(logging.ERROR if problem.severity == "error" else logging.WARNING, "%s", problem)

    def list(self) -> list[ModelInfo]:
        """Return all configured models, by name, then the embedded one, and last the aliases."""
        load_catalog()  # The configurations are checked by it.
        configured = {config.name: config for config in self.configurations()}
        default = self._registry.current().default
        configured = {**configured, default.name: configured.get(default.name, default)}
        infos = {name: self._info(config) for name, config in configured.items()}
        aliases = {alias.name: _info_of_alias(alias, infos[alias.model]) for alias in self.aliases().values()}
        return [*(info for name, info in infos.items() if name not in aliases), *aliases.values()]

    def get(self, name: str) -> ModelInfo:
        """Return a model by name or alias, without loading it."""
        info, alias = self._info(self.config(name)), self.aliases().get(name)
        return _info_of_alias(alias, info) if alias else info

    async def served(self, name: str) -> ServedModel:
        """Return a model with its pipeline class, as `resolve` does, in a thread."""
        return await asyncio.to_thread(self.resolve, name)

    def resolve(self, name: str) -> ServedModel:
        """Return a model with its pipeline class and its LoRAs; for a Hub id that may fetch one small file.

        Raises:
            OctaboxError: There is no such model, or its class is not known.
        """
        load_catalog()  # The configurations are checked by it.
        model = self._model(self.config(name))
        # LoRAs are looked up each time, since their files may change.
        return replace(model, config=with_loras(model.config, self._adapters)) if model.config.adapters else model

    def pipeline(self, name: str, task: str | None = None) -> PipelineEntry:
        """Return the pipeline of a model that serves a task; its class, if no task is given."""
        return default_pipeline(self.catalog, self._model(self.config(name)), task)[0]

    def _model(self, config: ModelConfig) -> ServedModel:
        return self._resolver.resolve(config, self.catalog)

    def schema(self, name: str, task: str | None = None) -> dict[str, Any]:
        """Return the JSON Schema of the call parameters of a model for a task; without a task, of its class."""
        model = self._model(self.config(name))
        entry, served_task = default_pipeline(self.catalog, model, task)
        return _call_schema(model, entry, served_task, model.tasks(self.catalog), self._limits)

    def schedulers(self, name: str) -> ModelSchedulers:
        """Return which noise schedulers fit a model; for a Hub id that may fetch one small file."""
        return model_schedulers(self._model(self.config(name)), self.catalog)

    def scheduler_incompatibility(
        self, name: str, choice: SchedulerChoice, pipeline: PipelineEntry | None = None
    ) -> Incompatibility | None:
        """Return why a scheduler does not fit a model, or one of its pipelines; None if it fits."""
        traits = self._resolver.traits(self._model(self.config(name)), self.catalog)
        return find_incompatibility(choice, traits, self.catalog, pipeline)

    def check_scheduler(self, model: ServedModel, pipeline: PipelineEntry, choice: SchedulerChoice) -> None:
        """Check that a scheduler can work with a model, by their configurations.

        Raises:
            InvalidParameterError: It cannot.
        """
        self._resolver.check_scheduler(model, pipeline, choice, self.catalog)

    def add(self, config: ModelConfig) -> None:
        """Serve a model in addition to those of the folder, in place of one with the same name."""
        self._resolver.forget(config.name)
        self._extra[config.name] = config

    async def remove(self, name: str) -> bool:
        """Stop serving a model that was added, and unload it; return whether it was in memory."""
        self._extra.pop(name, None)  # A load may have ended after an earlier removal.
        return await self._engine.unload(name)

    async def load(self, name: str, keep_alive: float | None = None, pin: bool | None = None) -> ModelStatus:
        """Load a model into memory, and change how long it stays there; None leaves that as it is configured."""
        model = await self.served(name)
        if self._downloads is not None:
            await self._downloads.finish(model.config)
        status = await self._engine.load(model.config, model.pipeline.name)
        if keep_alive is None and pin is None:
            return status
        self._engine.retain(model.config.name, keep_alive, pin)
        return next((each for each in self.status() if model.config.name in (each.model, *each.names)), status)

    async def unload(self, name: str) -> bool:
        """Unload a model, which may not be configured any more; return whether it was in memory."""
        loaded = any(name in (status.model, *status.names) for status in self.status())
        return await self._engine.unload(name if loaded else self.config(name).name)

    def status(self) -> Statuses:
        """Return the models in memory or on their way there."""
        return self._engine.status()

    def waiting(self) -> Mapping[str, int]:
        """Return how many requests wait by model, also of models that have no place in memory yet."""
        return self._engine.waiting()

    def _info(self, config: ModelConfig) -> ModelInfo:
        pipeline, tasks = self._resolver.describe_local(config, self.catalog)
        about = (_changed_at(config), config.description, config.response_format)
        return ModelInfo(config.name, config.model, pipeline, tasks, *about)


def _changed_at(config: ModelConfig) -> float:
    """Return when the file of a configuration was changed, in seconds since the epoch; 0 without a file."""
    return config.path.stat().st_mtime if config.path and config.path.exists() else 0.0


def _info_of_alias(alias: Alias, info: ModelInfo) -> ModelInfo:
    """Return the information about a model under another name."""
    return replace(info, name=alias.name, description=alias.description or info.description, alias_of=info.name)


def _call_schema(
    model: ServedModel, entry: PipelineEntry, task: str, tasks: Sequence[str], limits: Limits
) -> dict[str, Any]:
    """Return the JSON Schema of the call parameters of a pipeline, with the defaults of a model."""
    schema = json_schema(add_scale_parameter(entry, tuple(each.scale for each in model.config.ip_adapters)))
    properties = schema["properties"]
    defaults = {name: value for name, value in model.config.defaults.items() if name in properties}
    properties |= {name: {**properties[name], "default": value} for name, value in defaults.items()}
    if model.config.model == str(demo.FOLDER) and "prompt" in properties:
        properties["prompt"] = {**properties["prompt"], "examples": list(demo.PROMPTS)}
    # What the model's configuration gives, a request need not.
    schema["required"] = [name for name in schema["required"] if defaults.get(name) is None]
    schema = add_form_hints(schema, entry, ModelSizes(entry, model.config), limits)
    return {
        **schema,
        "x-pipeline": entry.name,
        "x-task": task,
        "x-tasks": list(tasks),
        "x-formats": formats_of(output_kinds(entry)),
    }
