"""Find the noise schedulers that fit a model, and the recommended one, before the model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.errors import OctaboxError
from octabox.hub.checkpoints import bundles
from octabox.hub.checkpoints.families import match_family
from octabox.hub.checkpoints.predictions import stated_scheduler
from octabox.hub.checkpoints.tensors import read_shapes
from octabox.hub.repository import scheduler_config
from octabox.schedulers.compatibility import (
    COMPONENT,
    Incompatibility,
    IncompatibilityCause,
    ModelTraits,
    check_settings,
    incompatibility,
)
from octabox.schedulers.names import resolve_scheduler
from octabox.service.served_model import ServedModel
from octabox.types import SchedulerChoice


@dataclass(frozen=True)
class ModelSchedulers:
    """The noise schedulers of a model.

    Args:
        model: Name of the model.
        default: Class of its own scheduler; empty if it has none, or if it is known only after loading.
        matches_flows: Whether it was trained by flow matching.
        recommended: Class of the scheduler of requests that name none: that of its configuration, else its own.
        settings: Settings of its configuration for the recommended one.
        incompatibilities: For each class, why it does not fit; None for those that fit.
    """

    model: str
    default: str = ""
    matches_flows: bool = False
    recommended: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    incompatibilities: Mapping[str, Incompatibility | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the fields about the model as JSON."""
        recommended = {"name": self.recommended, "settings": dict(self.settings)} if self.recommended else None
        return {
            "model": self.model,
            "own": self.default or None,
            "matches_flows": self.matches_flows if self.default else None,
            "recommended": recommended,
        }

    def compatibility(self, scheduler: str, requested: Incompatibility | None = None) -> dict[str, Any]:
        """Return the fields about the compatibility of a class as JSON; none if it is not known.

        Args:
            scheduler: The class.
            requested: Why it does not fit with the requested settings.
        """
        if scheduler not in self.incompatibilities:
            return {}
        found = self.incompatibilities[scheduler] or requested
        return {"fits": found is None, "reason": found and found.reason, "recommended": scheduler == self.recommended}


def model_schedulers(model: ServedModel, catalog: Catalog) -> ModelSchedulers:
    """Return which schedulers fit a model.

    Raises:
        LoadError: Its files are broken or cannot be fetched.
    """
    config, traits = model.config, traits_of(model, catalog)
    default = traits.default_class if traits else ""
    recommended = default
    settings: dict[str, Any] = {}
    if config.scheduler is not None:
        recommended, settings, *_ = resolve_scheduler(
            config.scheduler.name, config.scheduler.settings, catalog.schedulers
        )
    if traits is None:
        return ModelSchedulers(config.name, recommended=recommended, settings=settings)
    pipelines = catalog.pipelines.values()
    incompatibilities = {
        name: incompatibility(entry, traits, {}, pipelines) for name, entry in catalog.schedulers.items()
    }
    return ModelSchedulers(config.name, default, traits.matches_flows, recommended, settings, incompatibilities)


def find_incompatibility(
    choice: SchedulerChoice, traits: ModelTraits | None, catalog: Catalog, pipeline: PipelineEntry | None = None
) -> Incompatibility | None:
    """Return why a scheduler does not fit a model with its settings and those of its alias; None if it fits.

    Args:
        choice: The scheduler, by any name.
        traits: What schedulers depend on of the model; None if that is known only after loading.
        catalog: All pipelines and schedulers.
        pipeline: The pipeline of the request; None for that of the model's class.
    """
    if traits is None:
        return None
    resolved = resolve_scheduler(choice.name, choice.settings, catalog.schedulers)
    entry = catalog.schedulers[resolved.kind]
    try:
        check_settings(choice.name, resolved, entry, choice.settings)
    except OctaboxError as error:
        return Incompatibility(IncompatibilityCause.SETTINGS, error.message)
    traits = replace(traits, pipeline=pipeline or traits.pipeline)
    return incompatibility(entry, traits, resolved.settings, catalog.pipelines.values())


def check_scheduler(choice: SchedulerChoice, pipeline: PipelineEntry, traits: ModelTraits, catalog: Catalog) -> None:
    """Check that a scheduler can work with a model.

    Args:
        choice: The scheduler, by the name of its class.
        pipeline: The pipeline of the request.
        traits: The model.
        catalog: All pipelines and schedulers.

    Raises:
        InvalidParameterError: It cannot.
    """
    traits = replace(traits, pipeline=pipeline)
    entry = catalog.schedulers[choice.name]
    if found := incompatibility(entry, traits, choice.settings, catalog.pipelines.values()):
        raise found.error(choice.name, traits)


def traits_of(model: ServedModel, catalog: Catalog) -> ModelTraits | None:
    """Return the traits of a model that schedulers depend on; None if they are known only after loading.

    Raises:
        LoadError: Its files are broken or cannot be fetched.
    """
    if COMPONENT not in {part.name for part in model.pipeline.components}:
        return None
    config = _config_of(model.config)
    entry = catalog.schedulers.get(str(config.get("_class_name"))) if config else None
    if config is None or entry is None:
        return None
    if COMPONENT not in model.config.components and (file := Path(model.config.model)).is_file():
        known = [setting.name for setting in entry.settings]
        stated = stated_scheduler(file, config, known, model.config.scheduler_settings)
        config = {**config, **stated.settings}
        entry = catalog.schedulers[config["_class_name"]]
    config = {**config, **model.config.own_scheduler_settings}
    defaults = {setting.name: setting.default for setting in entry.settings if setting.literal and not setting.required}
    return ModelTraits(entry.name, {**defaults, **config}, model.pipeline)


def _config_of(config: ModelConfig) -> dict[str, Any] | None:
    """Return the configuration of a model's own scheduler, from the source that it would be loaded from."""
    part = config.components.get(COMPONENT)
    if isinstance(part, ComponentConfig) and (part.model or part.subfolder):
        folder = part.subfolder if part.subfolder is not None else "" if part.model else COMPONENT
        source = part.model or config.model
        return scheduler_config(source, config.revision if source == config.model else None, folder)
    if not Path(config.model).is_file():
        return scheduler_config(config.model, config.revision)
    if config.config:
        return scheduler_config(config.config)
    family = match_family(read_shapes(Path(config.model)))
    return bundles.scheduler_config(family.configs) if family and family.configs else None
