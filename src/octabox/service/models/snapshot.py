"""The models of a server at one time: their configurations, their pipelines and their schedulers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog, load_catalog
from octabox.config.aliases import Alias
from octabox.config.discovery import ModelFolder
from octabox.config.model import ModelConfig
from octabox.errors import ModelNotFoundError
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.hub.folder import is_hub_id
from octabox.schedulers.compatibility import Incompatibility
from octabox.service.bounds import Limits
from octabox.service.cascades.stages import Cascade, find_cascade, stage_configs
from octabox.service.conditions.lora import with_loras
from octabox.service.forms.call_schema import call_schema
from octabox.service.model_schedulers import ModelSchedulers, find_incompatibility, model_schedulers
from octabox.service.models.information import describe_alias, describe_cascade, describe_model
from octabox.service.selection.pipelines import default_pipeline
from octabox.service.selection.resolver import ModelResolver
from octabox.service.served_model import ServedModel
from octabox.types import ModelInfo, SchedulerChoice

#: Returns a folder without the models that cannot be served; before the catalog has been read, with all.
Check = Callable[[ModelFolder], ModelFolder]


@dataclass(frozen=True, eq=False)
class ModelSnapshot:
    """The models of a server as they were at one time, each of which is resolved once.

    A request is translated, checked and run by one snapshot: a file that changes meanwhile takes effect at the next request.

    Args:
        unchecked: The models of the folder.
        extra: Models in addition to those of the folder; they take precedence over those with the same name.
        check: Leaves out the models of the folder that cannot be served.
        resolver: Resolves models to their pipeline classes.
        adapters: The LoRAs and embeddings of the server.
        limits: Limits of the values of a request.
        allow_hub: Whether a Hub id without a configuration is a model too.
    """

    unchecked: ModelFolder
    extra: Mapping[str, ModelConfig]
    check: Check
    resolver: ModelResolver
    adapters: AdapterRegistry
    limits: Limits
    allow_hub: bool = False
    _resolved: dict[str, ServedModel] = field(default_factory=dict, init=False, repr=False)
    _cascades: dict[str, Cascade] = field(default_factory=dict, init=False, repr=False)

    @property
    def catalog(self) -> Catalog:
        """The catalog of pipelines and schedulers."""
        return load_catalog()

    @property
    def folder(self) -> ModelFolder:
        """The models of the folder; once the catalog has been read, without those that cannot be served."""
        return self.check(self.unchecked)

    @property
    def named(self) -> Mapping[str, ModelConfig]:
        """All models that have a configuration, by name and alias."""
        return {**self.folder.named, **self.extra}

    def configurations(self) -> Sequence[ModelConfig]:
        """Return the configurations of all listed models, by name."""
        return [config for _, config in sorted({**self.folder.models, **self.extra}.items())]

    def aliases(self) -> Mapping[str, Alias]:
        """Return the aliases of the models by name."""
        folder, extra = self.folder, self.extra
        return {
            each.name: each
            for each in folder.aliases
            if (each.model in folder.named or each.model in extra) and each.name not in extra
        }

    def config(self, name: str) -> ModelConfig:
        """Return a model's configuration, by its name or by an alias; nothing is read for it.

        Raises:
            ModelNotFoundError: There is none with this name.
        """
        if (alias := self.aliases().get(name)) is not None:
            name = alias.model
        if name in self.extra:
            return self.extra[name]
        try:
            return self.folder.find(name)
        except ModelNotFoundError as error:
            if not is_hub_id(name):
                raise
            if not self.allow_hub:
                error.hint = "Start the server with --allow-hub, or write a configuration for it."
                raise
            return ModelConfig(name=name, model=name)

    def cascade(self, name: str) -> Cascade | None:
        """Return a cascade by name or alias; None for any other model.

        Raises:
            OctaboxError: There is no such model, or a stage has none.
        """
        config = self.config(name)
        return self._cascade(config) if config.stages else None

    def resolve(self, name: str) -> ServedModel:
        """Return a model with its pipeline class and its LoRAs; for a Hub id that may fetch one small file.

        Raises:
            OctaboxError: There is no such model, or its class is not known.
        """
        if name not in self._resolved:
            catalog = self.catalog  # The configurations are checked by it.
            config = self.config(name)
            self._resolved[name] = self._cascade(config).served(catalog) if config.stages else self._with_loras(config)
        return self._resolved[name]

    def pipeline(self, name: str, task: str | None = None) -> PipelineEntry:
        """Return the pipeline of a model that serves a task; its class, if no task is given."""
        return default_pipeline(self.catalog, self.resolve(name), task)[0]

    def schema(self, name: str, task: str | None = None) -> dict[str, Any]:
        """Return the JSON Schema of the call parameters of a model for a task; without a task, of its class."""
        model = self.resolve(name)
        entry, served_task = default_pipeline(self.catalog, model, task)
        return call_schema(model, entry, served_task, model.tasks(self.catalog), self.limits)

    def schedulers(self, name: str) -> ModelSchedulers:
        """Return which noise schedulers fit a model; for a Hub id that may fetch one small file."""
        return model_schedulers(self.resolve(name), self.catalog)

    def scheduler_incompatibility(
        self, name: str, choice: SchedulerChoice, pipeline: PipelineEntry | None = None
    ) -> Incompatibility | None:
        """Return why a scheduler does not fit a model, or one of its pipelines; None if it fits."""
        traits = self.resolver.traits(self.resolve(name), self.catalog)
        return find_incompatibility(choice, traits, self.catalog, pipeline)

    def check_scheduler(self, model: ServedModel, pipeline: PipelineEntry, choice: SchedulerChoice) -> None:
        """Check that a scheduler can work with a model, by their configurations; raise the error if it cannot."""
        self.resolver.check_scheduler(model, pipeline, choice, self.catalog)

    def list(self) -> list[ModelInfo]:
        """Return all configured models, by name, then the embedded one, and last the aliases."""
        default = self.unchecked.default
        _ = self.catalog  # The configurations are checked by it.
        configured = {config.name: config for config in self.configurations()}
        configured = {**configured, default.name: configured.get(default.name, default)}
        infos = {name: self._describe(config) for name, config in configured.items()}
        aliases = {alias.name: describe_alias(alias, infos[alias.model]) for alias in self.aliases().values()}
        return [*(info for name, info in infos.items() if name not in aliases), *aliases.values()]

    def get(self, name: str) -> ModelInfo:
        """Return a model by name or alias, without loading it."""
        info, alias = self._describe(self.config(name)), self.aliases().get(name)
        return describe_alias(alias, info) if alias else info

    def _describe(self, config: ModelConfig) -> ModelInfo:
        if not config.stages:
            return describe_model(config, *self.resolver.describe_local(config, self.catalog))
        return describe_cascade(config, self.named, self.folder.folder, lambda: self._cascade(config), self.catalog)

    def _cascade(self, config: ModelConfig) -> Cascade:
        if config.name not in self._cascades:
            found = find_cascade(config, self.named, self.folder.folder, self._with_loras)
            self._cascades[config.name] = found
        return self._cascades[config.name]

    def _with_loras(self, config: ModelConfig) -> ServedModel:
        """Return a model with its pipeline class and the files of its LoRAs, which may have changed since another snapshot."""
        model = self.resolver.resolve(config, self.catalog)
        return replace(model, config=with_loras(model.config, self.adapters)) if model.config.adapters else model


def sources_of(models: ModelSnapshot, name: str) -> Sequence[ModelConfig]:
    """Return the configurations of all that is loaded for a model: itself, or the stages of a cascade."""
    config = models.config(name)
    return (
        [each for _, each in stage_configs(config, models.named, models.folder.folder)] if config.stages else [config]
    )
