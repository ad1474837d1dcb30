"""Load what a configuration brings beside a model's own components: a ControlNet, an adapter, for siblings that take it."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from octabox.catalog.loading import import_class
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.engine.worker.component_types import component_class
from octabox.engine.worker.loading.components import load_parts
from octabox.errors import LoadError


def part_configuration(config: ModelConfig, pipeline: str) -> tuple[ModelConfig, tuple[str, ...]]:
    """Return the configuration without the components that are not of the model's own class, and the names of those.

    Raises:
        LoadError: No sibling of the class takes them either, or nothing says where one comes from.
    """
    catalog = load_catalog()
    entry = catalog.pipeline(pipeline)
    own = {part.name for part in entry.components} or {*config.components}
    beside = tuple(name for name in config.components if name not in own)
    takers = catalog.siblings(pipeline, frozenset(beside)) if beside else ()
    taken = {part.name for sibling in takers for part in sibling.components}
    if unknown := [name for name in beside if name not in taken]:
        raise LoadError(
            f"Model '{config.name}': neither {pipeline} nor a sibling has a component '{unknown[0]}'.",
            hint=f"{pipeline} has these components: {', '.join(sorted(own))}.",
            model=config.name,
        )
    if sourceless := [name for name, part in config.parts() if name in beside and part.model is None]:
        raise LoadError(
            f"Model '{config.name}': {pipeline} has no component '{sourceless[0]}', and nothing says where it comes from.",
            hint=f"Write into its configuration: components: {{{sourceless[0]}: {{model: a folder or Hub id}}}}.",
            model=config.name,
        )
    kept = {name: part for name, part in config.components.items() if name in own}
    return (config.model_copy(update={"components": kept}) if beside else config), beside


def load_extra_components(
    config: ModelConfig, pipeline: str, names: tuple[str, ...], dtype: torch.dtype
) -> dict[str, Any]:
    """Return the components of these names, on the host; several of a name as a list."""
    return {
        name: load_parts(config, name, _taker(pipeline, name, frozenset(names)), dtype, config.model) for name in names
    }


def _taker(pipeline: str, name: str, names: frozenset[str]) -> Any:
    """Return a sibling class that has a component of this name, which says of which class that is."""
    kinds: list[Any] = [import_class(each.name) for each in load_catalog().siblings(pipeline, names)]
    takers = [kind for kind in kinds if name in inspect.signature(kind.__init__).parameters]
    return next((kind for kind in takers if component_class(kind, name)), takers[0])
