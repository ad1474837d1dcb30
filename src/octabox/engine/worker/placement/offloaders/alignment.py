"""Let a component be called as if it were on its device, while its weights are elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
from accelerate.hooks import ModelHook
from accelerate.utils import send_to_device

#: Where weights are while nothing computes with them.
HOST = torch.device("cpu")


class ExecutionDeviceHook:
    """Lets a component seem to be on the device that it computes on, wherever its weights are at that moment.

    What it is called with is brought there; and to those who ask where it is, in order to make its inputs there, its attribute
    ``device`` and diffusers' search for the hooks of accelerate answer with that device.

    Args:
        module: The component.
        device: Where it computes.
        load: Called where a pipeline is about to use the component by a method that diffusers has marked for that.
    """

    def __init__(self, module: torch.nn.Module, device: torch.device, load: Callable[[], None] = lambda: None) -> None:
        self._module, self._device, self._load = module, device, load
        self._handles: list[Any] = []
        self._class: Any = None

    def install(self) -> None:
        """Begin; the hook comes before all that are there."""
        self._handles = [self._module.register_forward_pre_hook(self._begin, with_kwargs=True, prepend=True)]
        self._module._hf_hook = _Hook(self._device, self._load)  # noqa: SLF001 (where diffusers looks for it)
        if isinstance(getattr(type(self._module), "device", None), property):
            self._class = type(self._module)
            self._module.__class__ = _placed(self._class, self._device)

    def remove(self) -> None:
        """End."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        with contextlib.suppress(AttributeError):
            del self._module._hf_hook  # noqa: SLF001 (as above)
        if self._class is not None:
            self._module.__class__ = self._class
            self._class = None

    def _begin(self, _module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        return move_tensors((args, kwargs), self._device)


class _Hook(ModelHook):  # type: ignore[misc]
    """What diffusers finds where it looks for a hook of accelerate."""

    def __init__(self, device: torch.device, load: Callable[[], None]) -> None:
        self.execution_device, self._load = device, load

    def pre_forward(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 (accelerate's signature)
        self._load()
        return args, kwargs


@cache
def _placed(kind: Any, device: torch.device) -> Any:
    """Return a class like another, whose components say that they are on a device."""
    return type(kind.__name__, (kind,), {"device": property(lambda _: device), "__module__": kind.__module__})


def move_tensors(arguments: Any, device: torch.device) -> Any:
    """Return arguments with all their tensors on a device; each argument is the very same object where it is there already.

    A pipeline may hand over a list that the module writes to, so nothing is copied without need.
    """
    if all(each.device == device for each in _tensors(arguments)):
        return arguments
    if type(arguments) is tuple:
        return tuple(move_tensors(each, device) for each in arguments)
    if type(arguments) is dict:
        return {name: move_tensors(each, device) for name, each in arguments.items()}
    return send_to_device(arguments, device)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of a value and of the containers in it."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _tensors(each)
