"""Load several components of one kind, such as ControlNets, for a pipeline that takes a list of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.worker.component_types import accepts_multiple
from octabox.engine.worker.failures import to_load_error
from octabox.errors import LoadError, OctaboxError


def load_component_list(config: ModelConfig, name: str, kind: Any, load: Callable[[ModelConfig], object]) -> Any:
    """Load a component, or each of a list.

    Args:
        config: The model's configuration.
        name: The component.
        kind: Pipeline class, whose constructor says whether it takes several.
        load: Loads the component of a configuration that has no list of it.

    Returns:
        The component; several as a list.

    Raises:
        LoadError: The pipeline takes one alone, or one of them cannot be loaded.
    """
    parts = config.components[name]
    if isinstance(parts, ComponentConfig):
        return load(config)
    if not accepts_multiple(kind, name):
        raise LoadError(
            f"Model '{config.name}': {kind.__name__} takes one component '{name}', not a list of them.",
            hint=f"Write into its configuration: components: {{{name}: {{model: a folder or Hub id}}}}.",
            model=config.name,
        )
    loaded: list[object] = []
    for place, part in enumerate(parts):
        # What stands there twice is loaded once.
        first = parts.index(part)
        loaded.append(loaded[first] if first < place else _load_one_of(config, name, place, load))
    return loaded


def _load_one_of(config: ModelConfig, name: str, place: int, load: Callable[[ModelConfig], object]) -> object:
    """Load one component of a list; an error tells which of them it is about."""
    parts = config.components[name]
    assert isinstance(parts, tuple)  # noqa: S101 (the caller has looked)
    part = parts[place]
    try:
        return load(config.model_copy(update={"components": {**config.components, name: part}}))
    except Exception as error:
        if isinstance(error, OctaboxError) and not isinstance(error, LoadError):
            raise
        found = to_load_error(error, config.model_copy(update={"model": part.model}))
        found.message = f"{name} {place + 1} of {len(parts)}: {found.message}"
        if type(found) is LoadError and not isinstance(error, OctaboxError):
            found.hint = f"Check `components.{name}.{place}`."
        raise found from error
