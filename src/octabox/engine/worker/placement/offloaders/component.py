"""Offload whole components: each is on the device while it computes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from octabox.engine.worker.placement.offloaders.alignment import HOST, ExecutionDeviceHook, move_tensors
from octabox.engine.worker.placement.offloaders.direct_tensors import direct_tensors, move_in_place

#: Loads of a component within one call from which on it counts as alternating with others.
ALTERNATING_LOADS = 3


class EvictionPolicy:
    """Decides which components stay on the device when another one is loaded.

    Components that are loaded repeatedly within one call, as a denoiser and its ControlNet in each step, are not offloaded
    for one another any more. They are learned from the calls.

    Args:
        device: The execution device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._loaded: dict[str, ComponentOffloader] = {}
        self._load_counts: Counter[str] = Counter()
        self._alternating: set[str] = set()
        self._is_paused = False

    def begin_call(self) -> None:
        """Reset the counts of loads."""
        self._load_counts.clear()

    def enter(self, component: ComponentOffloader) -> None:
        """Evict other components for one that is about to be loaded, and register it."""
        if not self._is_paused:
            self._load_counts[component.name] += 1
            if self._load_counts[component.name] >= ALTERNATING_LOADS:
                self._alternating.add(component.name)
            self._evict_for(component)
        self._loaded[component.name] = component

    def leave(self, component: ComponentOffloader) -> None:
        """Unregister a component that was offloaded."""
        self._loaded.pop(component.name, None)

    def evict_all(self) -> None:
        """Offload all components that are not computing."""
        if not self._is_paused:
            for component in [each for each in self._loaded.values() if not each.running]:
                component.unload()

    @contextmanager
    def without_eviction(self) -> Iterator[None]:
        """Load components within the context without eviction, and offload them afterwards."""
        before, self._is_paused = set(self._loaded), True
        try:
            yield
        finally:
            self._is_paused = False
            for name, component in list(self._loaded.items()):
                if name not in before:
                    component.unload()

    def _evict_for(self, component: ComponentOffloader) -> None:
        for name, other in list(self._loaded.items()):
            alternating = {name, component.name} <= self._alternating
            if name != component.name and not alternating and not other.running:
                other.unload()


class ComponentOffloader:
    """Keeps a component on the host until any of its modules is called.

    While it is on the host each of its modules has a hook, so that it is loaded by any method that a pipeline calls: its
    forward pass, ``encode``, ``decode``, a table of embeddings. On the device there are no such hooks. Weights that can be
    read without a call of a module stay on the device.

    Args:
        name: The component's name.
        module: The component.
        eviction: Decides which other components stay on the device.
    """

    def __init__(self, name: str, module: torch.nn.Module, eviction: EvictionPolicy) -> None:
        self.name, self.module, self._eviction = name, module, eviction
        self.running = 0
        self._device_hook = ExecutionDeviceHook(module, eviction.device, self.load)
        self._call_hooks: list[Any] = []
        self._load_hooks: list[Any] = []

    def install(self) -> None:
        """Move the component to the host and install its hooks."""
        self._call_hooks = [
            self.module.register_forward_pre_hook(self._before_forward, prepend=True),
            self.module.register_forward_hook(self._after_forward, always_call=True),
        ]
        self._device_hook.install()
        self.unload()

    def remove(self) -> None:
        """Move the component to the host and remove its hooks."""
        self.unload()
        self.module.to(HOST)
        self._device_hook.remove()
        for handle in [*self._call_hooks, *self._load_hooks]:
            handle.remove()
        self._call_hooks, self._load_hooks = [], []

    def load(self) -> None:
        """Move the component to the device and evict others."""
        if self._load_hooks:
            for handle in self._load_hooks:
                handle.remove()
            self._load_hooks = []
            self._eviction.enter(self)
            self.module.to(self._eviction.device)

    def unload(self) -> None:
        """Move the component to the host, except what can be read without a call of a module."""
        self.running = 0
        self.module.to(HOST)
        move_in_place(direct_tensors(self.module), self._eviction.device)
        self._eviction.leave(self)
        if not self._load_hooks:
            self._load_hooks = [
                each.register_forward_pre_hook(self._load_on_use, with_kwargs=True, prepend=True)
                for each in self.module.modules()
                if each is not self.module or not self._is_lazy
            ]

    @property
    def _is_lazy(self) -> bool:
        """Whether only a call of a submodule, not of the component itself, loads it.

        An encoder whose output is cached is called without any of its submodules.
        """
        direct_weights = (*self.module.parameters(recurse=False), *self.module.buffers(recurse=False))
        return isinstance(self.module, PreTrainedModel) and not direct_weights

    def _load_on_use(self, _module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        self.load()
        return move_tensors((args, kwargs), self._eviction.device)

    def _before_forward(self, *_: object) -> None:
        self.running += 1

    def _after_forward(self, *_: object) -> None:
        self.running = max(0, self.running - 1)


class ResidentComponent:
    """Keeps a component on the device; others that are offloaded leave the device when it is called.

    Args:
        name: The component's name.
        module: The component.
        eviction: Knows the components that are on the device.
    """

    def __init__(self, name: str, module: torch.nn.Module, eviction: EvictionPolicy) -> None:
        self.name, self.module, self._eviction = name, module, eviction
        self._hooks: list[Any] = []

    def install(self) -> None:
        """Install the hook of its forward pass."""
        self._hooks = [self.module.register_forward_pre_hook(self._before_forward, prepend=True)]

    def remove(self) -> None:
        """Remove the hook; the component stays on the device."""
        for handle in self._hooks:
            handle.remove()
        self._hooks = []

    def unload(self) -> None:
        """Stay on the device."""

    def _before_forward(self, *_: object) -> None:
        self._eviction.evict_all()
