"""The models that may be in memory: which of them are, and which have not been used for a while."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from octabox.config.memory.limits import HOST
from octabox.config.model import ModelConfig
from octabox.engine.local.resident.budget import MemoryNeed
from octabox.engine.local.resident.capacity_errors import all_pinned, no_room
from octabox.engine.local.resident.eviction import Evictions
from octabox.engine.local.resident.retention import IdleUnloader
from octabox.engine.local.resident.room import ResidentModel, select_evicted, wait_for_room
from octabox.engine.local.resident.turns import PlaceTurns


class LoadModel(Protocol):
    """Loads a model."""

    def __call__(self, model: ModelConfig, *, makes_room: bool) -> Awaitable[None]:
        """Load a configuration.

        Args:
            model: The configuration.
            makes_room: Whether another model leaves the device, and this one is loaded again, where memory runs out.
        """


class ResidentModels:
    """The models of an engine, which are unloaded where nobody uses them for a while.

    Args:
        on_expired: Called with the name of each model that is unloaded for lack of requests.
        max_resident: How many models may be in memory together; 0 is no limit.
        evictions: Takes models out of memory for others.
    """

    def __init__(self, on_expired: Callable[[str], None], max_resident: int, evictions: Evictions) -> None:
        self._models: dict[str, ResidentModel] = {}
        self._admitted: set[str] = set()  # Models that are about to be loaded.
        self._needs: dict[str, MemoryNeed] = {}  # What they will hold.
        self._freed = asyncio.Event()
        self._idle = IdleUnloader(self._models.values, on_expired)
        self._max_resident, self._evictions = max_resident, evictions
        self._turns = PlaceTurns(self._models)

    def add(self, model: ResidentModel) -> None:
        """Add a model that may be loaded."""
        self._models[model.name] = model

    def notify_freed(self) -> None:
        """Wake the loads that wait for room, since a model has become idle or has left memory."""
        self._freed.set()
        self._freed = asyncio.Event()
        self._idle.update()

    def notify_taken(self, model: ResidentModel) -> None:
        """Wake the loads that wait for room, where a model that has taken a request has to give its place to one of them."""
        if self._turns.is_awaited(model):
            self.notify_freed()

    def close(self) -> None:
        """Unload no models for lack of requests any more."""
        self._idle.stop()

    def held_by_others(self, name: str, device: str | None) -> int:
        """Return the bytes that all models but one hold on a device."""
        return sum(each.memory.get(device or "", 0) for each in self._others(name) if each.resident)

    @property
    def _full(self) -> bool:
        """Whether no further model may be in memory."""
        return bool(self._max_resident) and len(self._occupants()) >= self._max_resident

    async def _make_room(self, name: str, end: float | None) -> None:
        """Unload models until one more may be loaded; wait while all are in use.

        Raises:
            CapacityError: None has made room in time, or all are pinned.
        """
        while self._max_resident:
            resident = self._occupants(name)
            if len(resident) < self._max_resident:
                break
            if evicted := select_evicted(resident, name=name):
                await self._evictions.unload(evicted, "count")
            elif all(each.pinned for each in resident):
                raise all_pinned(name, f"{len(resident)} models")
            else:
                retry_at = self._turns.request_place(name, resident)
                error = no_room(name, self._max_resident)
                await wait_for_room(self._freed, end, error, math.inf if retry_at is None else retry_at)
        self._end_wait(name)

    def _end_wait(self, name: str) -> None:
        """End the wait of a load, which others may have waited for."""
        if self._turns.end(name):
            self.notify_freed()

    def _occupants(self, name: str = "") -> list[ResidentModel]:
        """Return the models but one that are in memory, or about to be loaded."""
        return [each for each in self._others(name) if each.resident or each.name in self._admitted]

    def _held(self, name: str = "") -> list[Mapping[str, int]]:
        """Return what each model but one holds, or will hold once it is loaded or awake."""
        held: list[Mapping[str, int]] = []
        for each in self._others(name):
            need, found = self._needs.get(each.name, MemoryNeed()).bytes, each.memory if each.resident else {}
            held.append({place: max(need.get(place, 0), found.get(place, 0)) for place in {**need, **found}})
        return held

    def _loading(self, name: str) -> dict[str, int]:
        """Return the bytes that the models but one which are being loaded will hold, and have not taken yet."""
        left: Counter[str] = Counter()
        for each in self._others(name):
            taken = {HOST: each.host_bytes} if each.name in self._needs else {}
            needed = self._needs.get(each.name, MemoryNeed()).bytes
            left.update({place: max(0, size - taken.get(place, 0)) for place, size in needed.items()})
        return left

    def _sleeps_on(self, name: str) -> str | None:
        """Return the device that a model whose weights are on the host has left; None if they are not."""
        return self._models[name].device if self._models[name].asleep else None

    def _uses(self, model: ResidentModel, place: str) -> bool:
        """Return whether a model holds bytes in a place, or will hold some once it is loaded or awake."""
        return bool(model.memory.get(place) or self._needs.get(model.name, MemoryNeed()).bytes.get(place))

    def _select_evicted(self, name: str, *devices: str | None) -> ResidentModel | None:
        """Return the idle model that leaves devices for another one, of those asleep the last; None if there is none."""
        there = self._on_same_device(name, *devices)
        return select_evicted(each for each in there if not each.asleep) or select_evicted(there)

    async def _free_devices(self, name: str, devices: Iterable[str | None]) -> list[str]:
        """Let an idle model leave each of the devices of another one, and return the names of those that did."""
        left: list[str] = []
        for device in dict.fromkeys(devices):
            evicted = self._select_evicted(name, device)
            if evicted and evicted.name not in left:  # One that is split over several has left all of them.
                await self._evictions.free_device(evicted, self._held())
                left.append(evicted.name)
        return left

    def _on_same_device(self, name: str, *devices: str | None) -> list[ResidentModel]:
        """Return the models but one that may be on one of its devices; None is any."""
        return [
            each
            for each in self._others(name)
            if None in devices or each.device in devices or any(each.memory.get(device or "") for device in devices)
        ]

    def _others(self, name: str) -> list[ResidentModel]:
        """Return all models but one."""
        return [each for each in self._models.values() if each.name != name]
