"""Keep components on the host and let diffusers bring their layers to the device, the next one while one computes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import torch
from diffusers.hooks import HookRegistry, apply_group_offloading
from diffusers.hooks.group_offloading import (
    _GROUP_OFFLOADING,
    _LAYER_EXECUTION_TRACKER,
    _LAZY_PREFETCH_GROUP_OFFLOADING,
)

from octabox.engine.worker.placement.offloaders.alignment import HOST, ExecutionDeviceHook

#: Kinds of devices that diffusers copies to by a stream of its own.
STREAMING = frozenset({"cuda", "xpu"})

#: Share of the host's free memory that a component may lock in place, so that no copy of it has to wait for the host.
PINNED_SHARE = 0.25


class GroupOffloader:
    """A component whose layers diffusers moves.

    Args:
        name: The component's name.
        module: The component.
        device: Where its layers compute.
    """

    def __init__(self, name: str, module: torch.nn.Module, device: torch.device) -> None:
        self.name, self.module, self._device = name, module, device
        self._compute = ExecutionDeviceHook(module, device)

    @staticmethod
    def supports(module: torch.nn.Module, device: torch.device) -> bool:
        """Return whether diffusers moves the layers of a component.

        It does not where the class says so. Nor does it by a stream where the pipeline changes the dtype of the component
        amid a call, since the copies that the stream makes are of the dtype that it had before.
        """
        recast = bool(getattr(getattr(module, "config", None), "force_upcast", False))
        return bool(getattr(module, "_supports_group_offloading", True)) and not (recast and device.type in STREAMING)

    def install(self) -> None:
        """Move the component to the host and install the hooks of diffusers."""
        self.module.to(HOST)
        streams = self._device.type in STREAMING
        apply_group_offloading(
            self.module,
            onload_device=self._device,
            offload_device=HOST,
            offload_type="leaf_level",
            non_blocking=streams,
            use_stream=streams,
            record_stream=streams,
            low_cpu_mem_usage=streams and _size(self.module) > PINNED_SHARE * free_host_memory(),
        )
        self._compute.install()

    def remove(self) -> None:
        """Take the hooks off and move the component to the host."""
        self._compute.remove()
        self.unload()
        registry = HookRegistry.check_if_exists_or_initialize(self.module)
        for name in (_GROUP_OFFLOADING, _LAYER_EXECUTION_TRACKER, _LAZY_PREFETCH_GROUP_OFFLOADING):
            registry.remove_hook(name, recurse=True)
        self.module.to(HOST)

    def unload(self) -> None:
        """Move every group of layers to the host."""
        for group in {id(each): each for each in self._groups()}.values():
            group.offload_()

    def _groups(self) -> Iterator[Any]:
        for each in self.module.modules():
            registry = getattr(each, "_diffusers_hook", None)
            hook = registry.get_hook(_GROUP_OFFLOADING) if registry is not None else None
            if hook is not None:
                yield hook.group


def _size(module: torch.nn.Module) -> int:
    """Return the bytes of a component's weights."""
    return sum(each.nbytes for each in module.parameters())


def free_host_memory() -> int:
    """Return the bytes of host memory that are free; where the system does not say, 0."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0
