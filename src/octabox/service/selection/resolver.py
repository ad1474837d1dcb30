"""Resolve a model's configuration to its pipeline class."""

from __future__ import annotations

from pathlib import Path

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import BASE, Catalog
from octabox.catalog.resolution import pipeline_from_index
from octabox.config.model import ModelConfig
from octabox.errors import OctaboxError
from octabox.hub.checkpoints.families import detect_family
from octabox.hub.folder import has_extra_channels
from octabox.hub.repository import model_index
from octabox.schedulers.compatibility import ModelTraits
from octabox.service.model_schedulers import check_scheduler, traits_of
from octabox.service.served_model import ServedModel
from octabox.types import SchedulerChoice


class ModelResolver:
    """Resolves models, and keeps the result until the configuration changes."""

    def __init__(self) -> None:
        self._models: dict[str, tuple[ModelConfig, ServedModel]] = {}
        self._traits: dict[str, tuple[ServedModel, ModelTraits | None]] = {}

    def resolve(self, config: ModelConfig, catalog: Catalog) -> ServedModel:
        """Return a model with its pipeline class; for a Hub id that may fetch one small file.

        Raises:
            OctaboxError: The class is not known, or the files are broken or cannot be fetched.
        """
        known, model = self._models.get(config.name, (None, None))
        if model is None or known != config:
            entry = catalog.pipeline(find_pipeline(config, catalog))
            alone = has_extra_channels(Path(config.model))
            model = ServedModel(config.with_class_presets(entry.name), entry, alone)
            self._models[config.name] = config, model
        return model

    def traits(self, model: ServedModel, catalog: Catalog) -> ModelTraits | None:
        """Return the traits of a model that schedulers depend on; None if they are known only after loading.

        Raises:
            LoadError: Its files are broken or cannot be fetched.
        """
        name = model.config.name
        if name not in self._traits or self._traits[name][0] != model:
            self._traits[name] = model, traits_of(model, catalog)
        return self._traits[name][1]

    def check_scheduler(
        self, model: ServedModel, pipeline: PipelineEntry, choice: SchedulerChoice, catalog: Catalog
    ) -> None:
        """Check that a scheduler can work with a model, by their configurations.

        Raises:
            InvalidParameterError: It cannot.
        """
        try:
            traits = self.traits(model, catalog)
        except OctaboxError:
            return  # The load of the model reports it.
        if traits is not None:
            check_scheduler(choice, pipeline, traits, catalog)

    def describe_local(self, config: ModelConfig, catalog: Catalog) -> tuple[str | None, tuple[str, ...]]:
        """Return the class and the tasks of a model, if that needs no network."""
        if config.pipeline is None and not Path(config.model).exists():
            return None, ()
        try:
            model = self.resolve(config, catalog)
            return model.pipeline.name, model.tasks(catalog)
        except OctaboxError:
            return config.pipeline, ()

    def forget(self, name: str) -> None:
        """Forget a model, whose files may have changed."""
        self._models.pop(name, None)
        self._traits.pop(name, None)


def resolve_current(config: ModelConfig, catalog: Catalog) -> ServedModel:
    """Return a model with its pipeline class by its current files, as `ModelResolver.resolve` does the first time."""
    return ModelResolver().resolve(config, catalog)


def find_pipeline(config: ModelConfig, catalog: Catalog) -> str:
    """Return the pipeline class of a model, by its configuration or its files."""
    requested = config.pipeline
    if requested in catalog.pipelines:
        return str(requested)
    if Path(config.model).is_file():
        default = detect_family(Path(config.model)).pipeline
    else:
        default = pipeline_from_index(model_index(config.model, config.revision), catalog, source=config.name)
    if requested is None or requested == BASE:
        return default
    # A class that selects a pipeline for a task means the sibling of the model's class for that task.
    task = next((tag for tag, name in catalog.automatic.items() if name == requested), requested)
    return catalog.for_task(task, like=default).name
