"""Load components that only sibling pipelines take, such as a ControlNet for a text-to-image model."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from octabox.catalog.loading import import_class
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.engine.worker.component_types import component_class
from octabox.engine.worker.loading.components import load_ungrouped
from octabox.errors import LoadError


def split_extra_components(config: ModelConfig, pipeline: str) -> tuple[ModelConfig, tuple[str, ...]]:
    """Return the configuration without the components that the pipeline does not have, and the names of those.

    Raises:
        LoadError: No sibling of the pipeline has them either, or one has no source.
    """
    catalog = load_catalog()
    entry = catalog.pipeline(pipeline)
    known = {part.name for part in entry.components} or {*config.components}
    extra = tuple(name for name in config.components if name not in known)
    siblings = catalog.siblings(pipeline, frozenset(extra)) if extra else ()
    accepted = {part.name for sibling in siblings for part in sibling.components}
    if unknown := [name for name in extra if name not in accepted]:
        raise LoadError(
            f"Model '{config.name}': neither {pipeline} nor a sibling has a component '{unknown[0]}'.",
            hint=f"{pipeline} has these components: {', '.join(sorted(known))}.",
            model=config.name,
        )
    extra = tuple(name for name in extra if name not in config.omitted())
    if sourceless := [name for name, part in config.parts() if name in extra and part.model is None]:
        raise LoadError(
            f"Model '{config.name}': {pipeline} has no component '{sourceless[0]}', and the configuration sets no source "
            "for it.",
            hint=f"Write into its configuration: components: {{{sourceless[0]}: {{model: a folder or Hub id}}}}.",
            model=config.name,
        )
    kept = {name: part for name, part in config.components.items() if name in known}
    return (config.model_copy(update={"components": kept}) if len(kept) < len(config.components) else config), extra


def load_extra_components(
    config: ModelConfig, pipeline: str, names: tuple[str, ...], dtype: torch.dtype
) -> dict[str, Any]:
    """Load components on the host; a name with several components as a list."""
    config_source = config.config or config.model
    return {
        name: load_ungrouped(config, name, _sibling_class(pipeline, name, frozenset(names)), dtype, config_source)
        for name in names
    }


def _sibling_class(pipeline: str, name: str, names: frozenset[str]) -> Any:
    """Return a sibling class whose constructor has a component of this name, preferably with its class."""
    siblings: list[Any] = [import_class(each.name) for each in load_catalog().siblings(pipeline, names)]
    accepting = [cls for cls in siblings if name in inspect.signature(cls.__init__).parameters]
    return next((cls for cls in accepting if component_class(cls, name)), accepting[0])
