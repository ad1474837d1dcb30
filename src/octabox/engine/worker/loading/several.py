"""Load several components of one kind, such as ControlNets, for a pipeline that takes a list of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args, get_origin

import torch

from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.worker.failures import as_load_error
from octabox.errors import LoadError, OctaboxError


def load_each(config: ModelConfig, name: str, kind: Any, load: Callable[[ModelConfig], object]) -> Any:
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
    if not takes_several(kind, name):
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
        found = as_load_error(error, config.model_copy(update={"model": part.model}))
        found.message = f"{name} {place + 1} of {len(parts)}: {found.message}"
        if type(found) is LoadError and not isinstance(error, OctaboxError):
            found.hint = f"Check `components.{name}.{place}`."
        raise found from error


def takes_several(kind: Any, name: str) -> bool:
    """Return whether a pipeline takes several components of a name."""
    annotation = _annotation(kind, name)
    return any(get_origin(each) in {list, tuple} for each in get_args(annotation)) or _group(annotation) is not None


def grouped(kind: Any, name: str, component: Any) -> Any:
    """Return a list of components as a pipeline's constructor takes it; one alone stays as it is."""
    if not isinstance(component, list):
        return component
    group = _group(_annotation(kind, name))
    if group is None:
        return component
    try:
        return group(component)
    except ValueError:
        if len(component) > 1:
            raise
        # Some groups are of several alone.
        return component[0]


def single(component: Any) -> list[Any]:
    """Return the members of a list of components, or of a module that is nothing but one; else the component alone."""
    if isinstance(component, list):
        return component
    children = list(component.children()) if isinstance(component, torch.nn.Module) else []
    only = children[0] if len(children) == 1 else None
    return list(only) if isinstance(only, torch.nn.ModuleList) else [component]


def _annotation(kind: Any, name: str) -> Any:
    return inspect.get_annotations(kind.__init__, eval_str=True).get(name)


def _group(annotation: Any) -> Any:
    """Return the class, of those that an annotation allows, that is made of a list of another: it needs nothing but that."""
    kinds = [each for each in get_args(annotation) if isinstance(each, type) and hasattr(each, "from_pretrained")]
    return next((each for each in kinds[1:] if len(_needed(each)) == 1), None)


def _needed(kind: Any) -> list[str]:
    """Return the names of the arguments that a constructor cannot do without."""
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    return [each.name for each in parameters if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD]
