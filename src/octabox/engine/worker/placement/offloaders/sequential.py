"""Keep components on the host and bring each of their layers to the device for as long as it computes."""

from __future__ import annotations

from typing import Any

import torch

from octabox.engine.worker.placement.offloaders.alignment import HOST, ExecutionDeviceHook, move_tensors


class SequentialOffloader:
    """A component whose layers are on the device one at a time.

    The host keeps its copy meanwhile, so that nothing is ever copied back.

    Args:
        name: The component's name.
        module: The component.
        device: Where its layers compute.
    """

    def __init__(self, name: str, module: torch.nn.Module, device: torch.device) -> None:
        self.name, self.module, self._device = name, module, device
        self._compute = ExecutionDeviceHook(module, device)
        self._layers: list[_Layer] = []

    def install(self) -> None:
        """Move the weights to the host and install the hooks; buffers, which are small, are put on the device."""
        self.module.to(HOST)
        self._place_buffers(self._device)
        self._layers = [
            _Layer(each, self._device)
            for each in self.module.modules()
            if next(each.parameters(recurse=False), None) is not None
        ]
        self._compute.install()

    def remove(self) -> None:
        """Take the hooks off and move the component to the host."""
        self._compute.remove()
        self.unload()
        for layer in self._layers:
            layer.remove()
        self._layers = []
        self._place_buffers(HOST)
        self.module.to(HOST)

    def unload(self) -> None:
        """Move every layer to the host, after a call that was ended amid one too."""
        for layer in self._layers:
            layer.unload()

    def _place_buffers(self, device: torch.device) -> None:
        for each in self.module.modules():
            for name, buffer in each.named_buffers(recurse=False):
                each._buffers[name] = buffer.to(device)  # noqa: SLF001 (as torch itself moves them)


class _Layer:
    """A module with weights of its own.

    Args:
        module: The module.
        device: Where it computes.
    """

    def __init__(self, module: torch.nn.Module, device: torch.device) -> None:
        self._module, self._device = module, device
        self._kept: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        self._depth = 0
        self._handles = [
            module.register_forward_pre_hook(self._begin, with_kwargs=True, prepend=True),
            module.register_forward_hook(self._end, always_call=True),
        ]

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def unload(self) -> None:
        """Put the host's weights back."""
        self._depth = 0
        for weight, kept in self._kept:
            # What was cast amid a call, as VAEs are that decode in float32, has left its place and comes back as it is.
            weight.data = kept if kept.dtype == weight.dtype else weight.data.to(HOST)
        self._kept = []
        for weight in self._module.parameters(recurse=False):
            if weight.device == self._device:
                weight.data = weight.data.to(HOST)

    def _begin(self, module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        self._depth += 1
        if self._depth == 1:
            self._kept = [(each, each.data) for each in module.parameters(recurse=False)]
            for weight, kept in self._kept:
                weight.data = kept.to(self._device)
        return move_tensors((args, kwargs), self._device)

    def _end(self, *_: object) -> None:
        self._depth -= 1
        if self._depth <= 0:
            self.unload()
