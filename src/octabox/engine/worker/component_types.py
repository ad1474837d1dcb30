"""Read the component types of a pipeline from its constructor: classes, and which components may be a list."""

from __future__ import annotations

import inspect
from typing import Any, get_args, get_origin

import torch


def component_class(cls: Any, name: str) -> Any:
    """Return the class of a pipeline's component by its annotation; None if it has no `from_pretrained`."""
    annotation = _annotation(cls, name)
    classes = [annotation, *get_args(annotation)]
    return next((each for each in classes if isinstance(each, type) and hasattr(each, "from_pretrained")), None)


def accepts_multiple(cls: Any, name: str) -> bool:
    """Return whether a pipeline accepts a list of components for a name."""
    annotation = _annotation(cls, name)
    return (
        any(get_origin(each) in {list, tuple} for each in get_args(annotation)) or _group_class(annotation) is not None
    )


def group_components(cls: Any, name: str, component: Any) -> Any:
    """Return a list of components as the type that a pipeline's constructor takes; a single one is returned unchanged."""
    if not isinstance(component, list):
        return component
    group = _group_class(_annotation(cls, name))
    if group is None:
        return component
    try:
        return group(component)
    except ValueError:
        if len(component) > 1:
            raise
        # Some group classes require several members.
        return component[0]


def unpack_components(component: Any) -> list[Any]:
    """Return the members of a list of components, or of a module that only wraps a `ModuleList`; else the component."""
    if isinstance(component, list):
        return component
    children = list(component.children()) if isinstance(component, torch.nn.Module) else []
    only = children[0] if len(children) == 1 else None
    return list(only) if isinstance(only, torch.nn.ModuleList) else [component]


def _annotation(cls: Any, name: str) -> Any:
    return inspect.get_annotations(cls.__init__, eval_str=True).get(name)


def _group_class(annotation: Any) -> Any:
    """Return the class in an annotation whose constructor requires a list of another class and nothing else."""
    classes = [each for each in get_args(annotation) if isinstance(each, type) and hasattr(each, "from_pretrained")]
    return next((each for each in classes[1:] if len(_required_arguments(each)) == 1), None)


def _required_arguments(cls: Any) -> list[str]:
    """Return the names of the required arguments of a constructor."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return [each.name for each in parameters if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD]
