"""Cast what a component is given to its own dtype, and what it returns back, where components of several dtypes meet."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from octabox.engine.worker.steps import TIMESTEP_PARAMETERS

#: Dtypes that are cast to one another; whole numbers and packed weights are what they are.
FLOATING = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})

#: Methods by which pipelines use components without their forward pass.
METHODS = re.compile(r"encode|decode|get_(?:image|text|audio|video)_features")

#: Marks a component that casts.
_MARK = "_octabox_casts"


def floating_dtype(component: torch.nn.Module) -> torch.dtype | None:
    """Return the dtype that a component computes in now; None where it has no floating weights."""
    dtype = getattr(component, "dtype", None)
    if not isinstance(dtype, torch.dtype):
        dtype = next((weight.dtype for weight in component.parameters() if weight.is_floating_point()), None)
    return dtype if dtype in FLOATING else None


def differing_dtypes(components: Iterable[object]) -> bool:
    """Return whether components compute in more than one dtype."""
    modules = [
        each for each in components if isinstance(each, torch.nn.Module) and any(True for _ in each.parameters())
    ]
    return len({dtype for each in modules if (dtype := floating_dtype(each))}) > 1


def install_casts(components: Iterable[object]) -> None:
    """Let components cast what they are given to the dtype that they have at the time, and their outputs back.

    Timesteps, and what is given in tuples (rotary embeddings), keep their dtype: models compute with those in float32.
    A component that is given its own dtype does nothing more than before.
    """
    for component in components:
        if isinstance(component, torch.nn.Module) and not hasattr(component, _MARK):
            _install(component)


def _install(component: torch.nn.Module) -> None:
    """Let one component cast, in its forward pass and in the methods that stand for it."""
    fed: list[torch.dtype | None] = [None]

    def before(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        own = floating_dtype(module)
        fed[0] = fed_dtype(args, kwargs, own)
        return (args, kwargs) if fed[0] is None else cast_arguments(args, kwargs, own)

    def after(_module: torch.nn.Module, _args: object, output: Any) -> Any:
        return output if fed[0] is None else cast_output(output, fed[0])

    component.register_forward_pre_hook(before, with_kwargs=True)
    component.register_forward_hook(after)
    for name in dir(type(component)):
        if METHODS.fullmatch(name) and callable(method := getattr(component, name)):
            setattr(component, name, _casting(component, method))
    setattr(component, _MARK, True)


def _casting(component: torch.nn.Module, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a component's method that casts."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        own = floating_dtype(component)
        fed = fed_dtype(args, kwargs, own)
        if fed is None:
            return method(*args, **kwargs)
        args, kwargs = cast_arguments(args, kwargs, own)
        return cast_output(method(*args, **kwargs), fed)

    return call


def fed_dtype(args: tuple[Any, ...], kwargs: Mapping[str, Any], own: torch.dtype | None) -> torch.dtype | None:
    """Return the dtype that a component is given where it is not its own; None where nothing is to be cast."""
    given = [*args, *(value for name, value in kwargs.items() if name not in TIMESTEP_PARAMETERS)]
    return next((each.dtype for each in _tensors(given) if own is not None and each.dtype != own), None)


def _tensors(values: Iterable[Any]) -> Iterable[torch.Tensor]:
    """Yield the tensors, among values, lists and mappings, that are cast: those of two axes and more."""
    for value in values:
        if isinstance(value, torch.Tensor):
            if value.dtype in FLOATING and value.ndim > 1:
                yield value
        elif isinstance(value, list):
            yield from _tensors(value)
        elif isinstance(value, Mapping):
            yield from _tensors(value.values())


def cast_arguments(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], dtype: torch.dtype | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments in a dtype."""
    named = {name: value if name in TIMESTEP_PARAMETERS else _cast(value, dtype) for name, value in kwargs.items()}
    return tuple(_cast(value, dtype) for value in args), named


def _cast(value: Any, dtype: torch.dtype | None) -> Any:
    """Return a value with its tensors in a dtype, as `_tensors` finds them."""
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.dtype in FLOATING and value.ndim > 1 else value
    if isinstance(value, list):
        return [_cast(each, dtype) for each in value]
    if type(value) is dict:
        return {name: _cast(each, dtype) for name, each in value.items()}
    return value


def cast_output(output: Any, dtype: torch.dtype | None) -> Any:
    """Return what a component returned, in a dtype: a tensor, a tuple or list, or an output of diffusers or transformers."""
    if isinstance(output, torch.Tensor):
        return output.to(dtype) if output.dtype in FLOATING else output
    if is_dataclass(output) and not isinstance(output, type):
        for part in fields(output):
            value = getattr(output, part.name)
            if value is not None:
                setattr(output, part.name, cast_output(value, dtype))
        return output
    if type(output) in (tuple, list):
        return type(output)(cast_output(each, dtype) for each in output)
    if isinstance(output, Mapping):
        return type(output)({name: cast_output(each, dtype) for name, each in output.items()})  # type: ignore[call-arg]
    if hasattr(output, "sample") and hasattr(output, "mode"):
        # A distribution of latents: its numbers are drawn and scaled by its own tensors.
        for name, value in list(vars(output).items()):
            if isinstance(value, torch.Tensor):
                setattr(output, name, cast_output(value, dtype))
    return output
