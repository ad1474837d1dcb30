"""Move the inputs of an offloaded component to its execution device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
from accelerate.hooks import ModelHook
from accelerate.utils import send_to_device

#: Device of offloaded weights.
HOST = torch.device("cpu")


def is_quantized(module: torch.nn.Module) -> bool:
    """Return whether a component's weights are quantized, so that they can only be moved together."""
    return getattr(module, "hf_quantizer", None) is not None or getattr(module, "quantization_method", None) is not None


class ExecutionDeviceHook:
    """Presents a component as being on its execution device while its weights are offloaded.

    Its inputs are moved to that device. Its attribute ``device`` and the accelerate hook that diffusers looks for report that
    device, so that pipelines create inputs there.

    Args:
        module: The component.
        device: The execution device.
        load: Called before a pipeline uses the component by a method that diffusers decorates for accelerate hooks.
    """

    def __init__(self, module: torch.nn.Module, device: torch.device, load: Callable[[], None] = lambda: None) -> None:
        self._module, self._device, self._load = module, device, load
        self._handles: list[Any] = []
        self._class: Any = None

    def install(self) -> None:
        """Install the hooks, before all others."""
        self._handles = [self._module.register_forward_pre_hook(self._move_inputs, with_kwargs=True, prepend=True)]
        self._module._hf_hook = _Hook(self._device, self._load)  # noqa: SLF001 (where diffusers looks for it)
        if isinstance(getattr(type(self._module), "device", None), property):
            self._class = type(self._module)
            self._module.__class__ = _with_device(self._class, self._device)

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        with contextlib.suppress(AttributeError):
            del self._module._hf_hook  # noqa: SLF001 (as above)
        if self._class is not None:
            self._module.__class__ = self._class
            self._class = None

    def _move_inputs(self, _module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        return move_tensors((args, kwargs), self._device)


class _Hook(ModelHook):  # type: ignore[misc]
    """The accelerate hook that diffusers reads the execution device from."""

    def __init__(self, device: torch.device, load: Callable[[], None]) -> None:
        self.execution_device, self._load = device, load

    def pre_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 (accelerate's signature)
        self._load()
        return args, kwargs


@cache
def _with_device(cls: Any, device: torch.device) -> Any:
    """Return a subclass with the same name whose `device` is fixed."""
    return type(cls.__name__, (cls,), {"device": property(lambda _: device), "__module__": cls.__module__})


def move_tensors(arguments: Any, device: torch.device) -> Any:
    """Move the tensors in arguments to a device; arguments that are there already are returned as the same objects.

    Nothing else is copied, since a pipeline may pass a list that the module writes to.
    """
    if all(each.device == device for each in _tensors(arguments)):
        return arguments
    if type(arguments) is tuple:
        return tuple(move_tensors(each, device) for each in arguments)
    if type(arguments) is dict:
        return {name: move_tensors(each, device) for name, each in arguments.items()}
    return send_to_device(arguments, device)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in a value and its containers."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _tensors(each)
