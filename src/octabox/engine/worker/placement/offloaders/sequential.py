"""Offload components sequentially: each layer is on the device only while it computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from octabox.engine.worker.placement.offloaders.alignment import HOST, ExecutionDeviceHook, move_tensors
from octabox.engine.worker.placement.offloaders.direct_tensors import direct_tensors, move_in_place


class SequentialOffloader:
    """Loads the layers of a component on the device one at a time.

    The host keeps its copy of the weights, so nothing is copied back.

    Args:
        name: The component's name.
        module: The component.
        device: The execution device.
    """

    def __init__(self, name: str, module: torch.nn.Module, device: torch.device) -> None:
        self.name, self.module, self._device = name, module, device
        self._device_hook = ExecutionDeviceHook(module, device)
        self._layers: list[_Layer] = []

    def install(self) -> None:
        """Move the weights of layers to the host, all buffers and direct weights to the device, and install the hooks."""
        self.module.to(HOST)
        direct = direct_tensors(self.module)
        move_in_place([*direct, *self.module.buffers()], self._device)
        layers = {each: _weights_without(each, direct) for each in self.module.modules()}
        self._layers = [_Layer(each, weights, self._device) for each, weights in layers.items() if weights]
        self._device_hook.install()

    def remove(self) -> None:
        """Remove the hooks and move the component to the host."""
        self._device_hook.remove()
        self.unload()
        for layer in self._layers:
            layer.remove()
        self._layers = []
        self.module.to(HOST)

    def unload(self) -> None:
        """Move every layer to the host, also after an interrupted call."""
        for layer in self._layers:
            layer.unload()


def _weights_without(module: torch.nn.Module, others: Sequence[torch.Tensor]) -> list[torch.nn.Parameter]:
    """Return the direct weights of a module that are not among others."""
    return [each for each in module.parameters(recurse=False) if not any(each is other for other in others)]


class _Layer:
    """A module with direct weights.

    Args:
        module: The module.
        weights: Those of its direct weights that are offloaded.
        device: The execution device.
    """

    def __init__(self, module: torch.nn.Module, weights: Sequence[torch.nn.Parameter], device: torch.device) -> None:
        self._weights, self._device = weights, device
        self._host_weights: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        self._depth = 0
        self._handles = [
            module.register_forward_pre_hook(self._before_forward, with_kwargs=True, prepend=True),
            module.register_forward_hook(self._after_forward, always_call=True),
        ]

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def unload(self) -> None:
        """Restore the host's weights."""
        self._depth = 0
        for weight, host_weight in self._host_weights:
            # Weights that were cast during a call, as in a VAE that decodes in float32, are copied back.
            weight.data = host_weight if host_weight.dtype == weight.dtype else weight.data.to(HOST)
        self._host_weights = []
        for weight in self._weights:
            if weight.device == self._device:
                weight.data = weight.data.to(HOST)

    def _before_forward(self, _module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        self._depth += 1
        if self._depth == 1:
            self._host_weights = [(each, each.data) for each in self._weights]
            for weight, host_weight in self._host_weights:
                weight.data = host_weight.to(self._device)
        return move_tensors((args, kwargs), self._device)

    def _after_forward(self, *_: object) -> None:
        self._depth -= 1
        if self._depth <= 0:
            self.unload()
