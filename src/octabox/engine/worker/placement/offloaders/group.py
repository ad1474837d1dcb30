"""Offload components by groups of layers with diffusers' hooks, which prefetch the next group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from diffusers.hooks import HookRegistry, apply_group_offloading
from diffusers.hooks.group_offloading import (
    _GROUP_OFFLOADING,
    _LAYER_EXECUTION_TRACKER,
    _LAZY_PREFETCH_GROUP_OFFLOADING,
)

from octabox.engine.memory.host import host_memory
from octabox.engine.worker.placement.casts import find_compute_dtype
from octabox.engine.worker.placement.dtype import HALF_DTYPES
from octabox.engine.worker.placement.offloaders.alignment import HOST, ExecutionDeviceHook, is_quantized
from octabox.engine.worker.placement.offloaders.direct_tensors import direct_tensors, move_in_place

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

        Some classes do not, nor do quantized weights. With streams, components that may be upcast during a call do not either,
        since the prefetched copies have the earlier dtype: by the pipeline, or for decoding again in float32.
        """
        supported = bool(getattr(module, "_supports_group_offloading", True)) and not is_quantized(module)
        upcasts = bool(getattr(getattr(module, "config", None), "force_upcast", False))
        decodes = callable(getattr(module, "decode", None)) and find_compute_dtype(module) in HALF_DTYPES
        return supported and not ((upcasts or decodes) and device.type in STREAM_DEVICES)

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
        self._keep_on_device()
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

    def _keep_on_device(self) -> None:
        """Take out of the groups what is read without a call of a layer: all buffers, and the component's direct weights.

        diffusers loads them for the forward pass of the module that they belong to, which ``decode`` does not run.
        """
        direct = direct_tensors(self.module)
        kept = {id(each): each for each in direct}
        for group in self._groups():
            kept |= {id(each): each for each in group.buffers}
            group.buffers = []
            group.parameters = [each for each in group.parameters if id(each) not in kept]
            group.cpu_param_dict = {each: host for each, host in group.cpu_param_dict.items() if id(each) not in kept}
        move_in_place(list(kept.values()), self._device)

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
    """Return the bytes of host memory that are available within the limit of a container; 0 if they are not known."""
    known = host_memory()
    return known[0] if known else 0
