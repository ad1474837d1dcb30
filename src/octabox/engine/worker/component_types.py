"""What the constructor of a pipeline states about its components: their classes, and which of them may be a list."""

from __future__ import annotations

import inspect
from typing import Any, get_args, get_origin

import torch


def component_class(kind: Any, name: str) -> Any:
    """Return the class of a pipeline's component, as the constructor says; None where it cannot be loaded alone."""
    annotation = _annotation(kind, name)
    kinds = [annotation, *get_args(annotation)]
    return next((each for each in kinds if isinstance(each, type) and hasattr(each, "from_pretrained")), None)


def takes_several(kind: Any, name: str) -> bool:
    """Return whether a pipeline takes several components of a name."""
    annotation = _annotation(kind, name)
    return any(get_origin(each) in {list, tuple} for each in get_args(annotation)) or _group(annotation) is not None


def group_components(kind: Any, name: str, component: Any) -> Any:
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


def members_of(component: Any) -> list[Any]:
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
