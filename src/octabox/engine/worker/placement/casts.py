"""Cast a component's inputs to its dtype and its outputs back, for models with components of several dtypes."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from octabox.engine.worker.steps import TIMESTEP_PARAMETERS

#: Dtypes that are cast; integers and packed weights are not.
FLOATING_DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})

#: Methods other than `forward` by which pipelines call components.
METHODS = re.compile(r"encode|decode|get_(?:image|text|audio|video)_features")

#: Attribute that marks a component with casts.
_MARKER = "_octabox_casts"


def find_compute_dtype(component: torch.nn.Module) -> torch.dtype | None:
    """Return the dtype that a component computes in; None if it has no floating-point weights."""
    dtype = getattr(component, "dtype", None)
    if not isinstance(dtype, torch.dtype):
        dtype = next((weight.dtype for weight in component.parameters() if weight.is_floating_point()), None)
    return dtype if dtype in FLOATING_DTYPES else None


def has_mixed_dtypes(components: Iterable[object]) -> bool:
    """Return whether components compute in more than one dtype."""
    modules = [
        each for each in components if isinstance(each, torch.nn.Module) and any(True for _ in each.parameters())
    ]
    return len({dtype for each in modules if (dtype := find_compute_dtype(each))}) > 1


def install_casts(components: Iterable[object]) -> None:
    """Install hooks that cast the inputs of components to their dtype, and their outputs back.

    Timesteps and tensors in tuples (rotary embeddings) keep their dtype, since models compute with them in float32. Inputs
    in the component's dtype are passed on unchanged.
    """
    for component in components:
        if isinstance(component, torch.nn.Module) and not hasattr(component, _MARKER):
            _install(component)


def _install(component: torch.nn.Module) -> None:
    """Install casts in a component's forward pass and in its `METHODS`."""
    original_dtype: list[torch.dtype | None] = [None]

    def before(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        dtype = find_compute_dtype(module)
        original_dtype[0] = input_dtype(args, kwargs, dtype)
        return (args, kwargs) if original_dtype[0] is None else cast_arguments(args, kwargs, dtype)

    def after(_module: torch.nn.Module, _args: object, output: Any) -> Any:
        return output if original_dtype[0] is None else cast_output(output, original_dtype[0])

    component.register_forward_pre_hook(before, with_kwargs=True)
    component.register_forward_hook(after)
    for name in dir(type(component)):
        if METHODS.fullmatch(name) and callable(method := getattr(component, name)):
            setattr(component, name, _with_casts(component, method))
    setattr(component, _MARKER, True)


def _with_casts(component: torch.nn.Module, method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a component's method so that it casts inputs and outputs."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        dtype = find_compute_dtype(component)
        original_dtype = input_dtype(args, kwargs, dtype)
        if original_dtype is None:
            return method(*args, **kwargs)
        args, kwargs = cast_arguments(args, kwargs, dtype)
        return cast_output(method(*args, **kwargs), original_dtype)

    return call


def input_dtype(args: tuple[Any, ...], kwargs: Mapping[str, Any], dtype: torch.dtype | None) -> torch.dtype | None:
    """Return the dtype of the first input that differs from the component's dtype; None if there is none to cast."""
    values = [*args, *(value for name, value in kwargs.items() if name not in TIMESTEP_PARAMETERS)]
    return next((each.dtype for each in _tensors(values) if dtype is not None and each.dtype != dtype), None)


def _tensors(values: Iterable[Any]) -> Iterable[torch.Tensor]:
    """Yield the tensors to cast, those with two or more dimensions, from values, lists and mappings."""
    for value in values:
        if isinstance(value, torch.Tensor):
            if value.dtype in FLOATING_DTYPES and value.ndim > 1:
                yield value
        elif isinstance(value, list):
            yield from _tensors(value)
        elif isinstance(value, Mapping):
            yield from _tensors(value.values())


def cast_arguments(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], dtype: torch.dtype | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Cast the arguments of a call to a dtype."""
    named = {name: value if name in TIMESTEP_PARAMETERS else _cast(value, dtype) for name, value in kwargs.items()}
    return tuple(_cast(value, dtype) for value in args), named


def _cast(value: Any, dtype: torch.dtype | None) -> Any:
    """Cast the tensors in a value, selected as by `_tensors`, to a dtype."""
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.dtype in FLOATING_DTYPES and value.ndim > 1 else value
    if isinstance(value, list):
        return [_cast(each, dtype) for each in value]
    if type(value) is dict:
        return {name: _cast(each, dtype) for name, each in value.items()}
    return value


def cast_output(output: Any, dtype: torch.dtype | None) -> Any:
    """Cast a component's output to a dtype: a tensor, a tuple or list, or an output of diffusers or transformers."""
    if isinstance(output, torch.Tensor):
        return output.to(dtype) if output.dtype in FLOATING_DTYPES else output
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
        # A distribution of latents, which samples with its own tensors.
        for name, value in list(vars(output).items()):
            if isinstance(value, torch.Tensor):
                setattr(output, name, cast_output(value, dtype))
    return output
