"""Tell which noise schedulers fit a model, and which is recommended, before the model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from octabox.catalog.pipelines import Catalog
from octabox.config.model import ComponentConfig, ModelConfig
from octabox.errors import OctaboxError
from octabox.hub.checkpoints import bundles
from octabox.hub.checkpoints.families import match_family
from octabox.hub.checkpoints.tensors import read_shapes
from octabox.hub.repository import scheduler_config
from octabox.schedulers.compatibility import COMPONENT, ModelTraits, check_settings, incompatibility
from octabox.schedulers.names import resolve_scheduler
from octabox.service.served_model import ServedModel


@dataclass(frozen=True)
class ModelSchedulers:
    """What is known of the noise schedulers of a model.

    Args:
        model: Its name.
        own: Class of its own scheduler; empty where it has none, or where only loading it tells.
        matches_flows: Whether it was trained by flow matching.
        recommended: Class of the one that is used where a request names none: its configuration's, else its own.
        settings: Settings that its configuration gives that one.
        misfits: For each class, why it does not fit; empty for those that do.
    """

    model: str
    own: str = ""
    matches_flows: bool = False
    recommended: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    incompatibilities: Mapping[str, str] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """Return the facts about the model as JSON has them."""
        recommended = {"name": self.recommended, "settings": dict(self.settings)} if self.recommended else None
        return {
            "model": self.model,
            "own": self.own or None,
            "matches_flows": self.matches_flows if self.own else None,
            "recommended": recommended,
        }

    def about(self, kind: str, settings_misfit: str = "") -> dict[str, Any]:
        """Return what is to be said of one class for this model; nothing where it is not known."""
        if kind not in self.incompatibilities:
            return {}
        reason = self.incompatibilities[kind] or settings_misfit
        return {"fits": not reason, "reason": reason or None, "recommended": kind == self.recommended}


def model_schedulers(model: ServedModel, catalog: Catalog) -> ModelSchedulers:
    """Return which schedulers fit a model.

    Raises:
        LoadError: Its files are broken or cannot be had.
    """
    config, found = model.config, traits_of(model, catalog)
    own = found.default_class if found else ""
    recommended = own
    settings: dict[str, Any] = {}
    if config.scheduler is not None:
        recommended, settings, *_ = resolve_scheduler(
            config.scheduler.name, config.scheduler.settings, catalog.schedulers
        )
    if found is None:
        return ModelSchedulers(config.name, recommended=recommended, settings=settings)
    pipelines = catalog.pipelines.values()
    incompatibilities = {
        name: incompatibility(entry, found, {}, pipelines) for name, entry in catalog.schedulers.items()
    }
    return ModelSchedulers(config.name, own, found.matches_flows, recommended, settings, incompatibilities)


def scheduler_incompatibility_of(name: str, model: ServedModel, catalog: Catalog) -> str:
    """Return why a scheduler of any name does not fit a model, its settings included; nothing where it does."""
    found = traits_of(model, catalog)
    if found is None:
        return ""
    meant = resolve_scheduler(name, {}, catalog.schedulers)
    entry = catalog.schedulers[meant.kind]
    try:
        check_settings(name, meant, entry, {})
    except OctaboxError as error:
        return error.message
    return incompatibility(entry, found, meant.settings, catalog.pipelines.values())


def traits_of(model: ServedModel, catalog: Catalog) -> ModelTraits | None:
    """Return a model as far as schedulers are concerned; None where only loading it tells."""
    if COMPONENT not in {part.name for part in model.own.components}:
        return None
    told = _config_of(model.config)
    entry = catalog.schedulers.get(str(told.get("_class_name"))) if told else None
    if told is None or entry is None:
        return None
    defaults = {setting.name: setting.default for setting in entry.settings if setting.literal and not setting.required}
    return ModelTraits(entry.name, {**defaults, **told}, model.own)


def _config_of(config: ModelConfig) -> dict[str, Any] | None:
    """Return the configuration of a model's own scheduler, from wherever it would be loaded."""
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
