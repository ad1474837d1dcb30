"""Keep components on the host and move each to the device, as a whole, while it is at work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from octabox.engine.worker.placement.offloaders.alignment import HOST, ExecutionDeviceHook, move_tensors

#: How often a component is brought to the device within one call until it counts as working in turns with others.
TURNS = 3


class EvictionPolicy:
    """Decides which components are on the device: the one at work, and those that work in turns with it.

    A component that is brought back again and again within one call, as a denoiser and its ControlNet are in each step, is not
    moved away any more for others of that kind. Which ones these are is learned from the calls.

    Args:
        device: Where the components compute.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._present: dict[str, ComponentOffloader] = {}
        self._counts: Counter[str] = Counter()
        self._in_turns: set[str] = set()
        self._is_together = False

    def begin_call(self) -> None:
        """Count anew."""
        self._counts.clear()

    def enter(self, component: ComponentOffloader) -> None:
        """Make room for a component and note that it is on the device."""
        if not self._is_together:
            self._counts[component.name] += 1
            if self._counts[component.name] >= TURNS:
                self._in_turns.add(component.name)
            self._make_room(component)
        self._present[component.name] = component

    def leave(self, component: ComponentOffloader) -> None:
        """Note that a component is on the host again."""
        self._present.pop(component.name, None)

    @contextmanager
    def without_eviction(self) -> Iterator[None]:
        """Let components come to the device within the context beside those that are there, and leave it afterwards."""
        before, self._is_together = set(self._present), True
        try:
            yield
        finally:
            self._is_together = False
            for name, component in list(self._present.items()):
                if name not in before:
                    component.unload()

    def _make_room(self, component: ComponentOffloader) -> None:
        for name, other in list(self._present.items()):
            in_turns = {name, component.name} <= self._in_turns
            if name != component.name and not in_turns and not other.running:
                other.unload()


class ComponentOffloader:
    """A component that is on the host until any of its modules is called.

    Each of its modules has a hook for as long as it is on the host, so that it is found by whichever method a pipeline takes:
    its forward pass, ``encode``, ``decode``, a table of embeddings. On the device none of them costs anything.

    Args:
        name: The component's name.
        module: The component.
        residency: What decides which others stay on the device.
    """

    def __init__(self, name: str, module: torch.nn.Module, residency: EvictionPolicy) -> None:
        self.name, self.module, self._residency = name, module, residency
        self.running = 0
        self._compute = ExecutionDeviceHook(module, residency.device, self.load)
        self._always: list[Any] = []
        self._while_away: list[Any] = []

    def install(self) -> None:
        """Move the component to the host and install its hooks."""
        self._always = [
            self.module.register_forward_pre_hook(self._begin, prepend=True),
            self.module.register_forward_hook(self._end, always_call=True),
        ]
        self._compute.install()
        self.unload()

    def remove(self) -> None:
        """Move the component to the host and take its hooks off."""
        self.unload()
        self._compute.remove()
        for handle in [*self._always, *self._while_away]:
            handle.remove()
        self._always, self._while_away = [], []

    def load(self) -> None:
        """Move the component to the device, and those away that need not be there."""
        if self._while_away:
            for handle in self._while_away:
                handle.remove()
            self._while_away = []
            self._residency.enter(self)
            self.module.to(self._residency.device)

    def unload(self) -> None:
        """Move the component to the host."""
        self.running = 0
        self.module.to(HOST)
        self._residency.leave(self)
        if not self._while_away:
            self._while_away = [
                each.register_forward_pre_hook(self._use, with_kwargs=True, prepend=True)
                for each in self.module.modules()
                if each is not self.module or not self._is_lazy
            ]

    @property
    def _is_lazy(self) -> bool:
        """Whether a call of the component itself does not need it on the device yet.

        What an encoder made of a prompt may be remembered; then none of its modules is called.
        """
        own = (*self.module.parameters(recurse=False), *self.module.buffers(recurse=False))
        return isinstance(self.module, PreTrainedModel) and not own

    def _use(self, _module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        self.load()
        return move_tensors((args, kwargs), self._residency.device)

    def _begin(self, *_: object) -> None:
        self.running += 1

    def _end(self, *_: object) -> None:
        self.running = max(0, self.running - 1)
