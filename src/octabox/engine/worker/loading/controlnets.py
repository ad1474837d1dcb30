"""Load a list of components of one name, such as several ControlNets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.worker.component_types import accepts_multiple
from octabox.engine.worker.failures import to_load_error
from octabox.errors import LoadError, OctaboxError


def load_component_list(
    config: ModelConfig, name: str, pipeline_class: Any, load: Callable[[ModelConfig], object]
) -> Any:
    """Load a component, or each component of a list.

    Args:
        config: The model's configuration.
        name: Name of the component.
        pipeline_class: Pipeline class, whose constructor states whether it takes a list.
        load: Loads the component from a configuration with a single entry for it.

    Returns:
        The component, or a list of components.

    Raises:
        LoadError: The pipeline takes no list, or one of the components cannot be loaded.
    """
    parts = config.components[name]
    if isinstance(parts, ComponentConfig):
        return load(config)
    if not accepts_multiple(pipeline_class, name):
        raise LoadError(
            f"Model '{config.name}': {pipeline_class.__name__} takes one component '{name}', not a list of them.",
            hint=f"Write into its configuration: components: {{{name}: {{model: a folder or Hub id}}}}.",
            model=config.name,
        )
    loaded: list[object] = []
    for index, part in enumerate(parts):
        # Equal entries are loaded once.
        first = parts.index(part)
        loaded.append(loaded[first] if first < index else _load_list_entry(config, name, index, load))
    return loaded


def _load_list_entry(config: ModelConfig, name: str, index: int, load: Callable[[ModelConfig], object]) -> object:
    """Load one component of a list; errors name its position."""
    parts = config.components[name]
    assert isinstance(parts, tuple)  # noqa: S101 (checked by the caller)
    part = parts[index]
    try:
        return load(config.model_copy(update={"components": {**config.components, name: part}}))
    except Exception as error:
        if isinstance(error, OctaboxError) and not isinstance(error, LoadError):
            raise
        found = to_load_error(error, config.model_copy(update={"model": part.model}))
        found.message = f"{name} {index + 1} of {len(parts)}: {found.message}"
        if type(found) is LoadError and not isinstance(error, OctaboxError):
            found.hint = f"Check `components.{name}.{index}`."
        raise found from error
