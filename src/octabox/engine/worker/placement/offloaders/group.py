"""Offload components by groups of layers with diffusers' hooks, which prefetch the next group."""

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

#: Device types that diffusers copies to in a separate stream.
STREAM_DEVICES = frozenset({"cuda", "xpu"})

#: Share of the host's free memory that a component's pinned weights may take.
PINNED_SHARE = 0.25


class GroupOffloader:
    """Offloads a component by diffusers' group offloading.

    Args:
        name: The component's name.
        module: The component.
        device: The execution device.
    """

    def __init__(self, name: str, module: torch.nn.Module, device: torch.device) -> None:
        self.name, self.module, self._device = name, module, device
        self._device_hook = ExecutionDeviceHook(module, device)

    @staticmethod
    def supports(module: torch.nn.Module, device: torch.device) -> bool:
        """Return whether a component supports group offloading.

        Some classes do not. With streams, components that are upcast during a call do not either, since the prefetched
        copies have the earlier dtype.
        """
        upcasts = bool(getattr(getattr(module, "config", None), "force_upcast", False))
        supported = bool(getattr(module, "_supports_group_offloading", True))
        return supported and not (upcasts and device.type in STREAM_DEVICES)

    def install(self) -> None:
        """Move the component to the host and install diffusers' hooks."""
        self.module.to(HOST)
        streams = self._device.type in STREAM_DEVICES
        apply_group_offloading(
            self.module,
            onload_device=self._device,
            offload_device=HOST,
            offload_type="leaf_level",
            non_blocking=streams,
            use_stream=streams,
            record_stream=streams,
            low_cpu_mem_usage=streams and _weight_bytes(self.module) > PINNED_SHARE * free_host_memory(),
        )
        self._device_hook.install()

    def remove(self) -> None:
        """Remove the hooks and move the component to the host."""
        self._device_hook.remove()
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


def _weight_bytes(module: torch.nn.Module) -> int:
    """Return the bytes of a component's weights."""
    return sum(each.nbytes for each in module.parameters())


def free_host_memory() -> int:
    """Return the free bytes of host memory; 0 if the system does not report them."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0
