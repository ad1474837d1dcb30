"""The models that may be in memory: which of them are, and which have not been used for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from octabox.engine.local.resident.budget import MemoryNeed
from octabox.engine.local.resident.idle import IdleUnloader
from octabox.engine.local.resident.room import ResidentModel


class ResidentModels:
    """The models of an engine, which are unloaded where nobody uses them for a while.

    Args:
        on_expired: Called with the name of each model that is unloaded for lack of requests.
    """

    def __init__(self, on_expired: Callable[[str], None]) -> None:
        self._models: dict[str, ResidentModel] = {}
        self._admitted: set[str] = set()  # Models that are about to be loaded.
        self._needs: dict[str, MemoryNeed] = {}  # What they will hold.
        self._freed = asyncio.Event()
        self._idle = IdleUnloader(self._models.values, on_expired)

    def add(self, model: ResidentModel) -> None:
        """Add a model that may be loaded."""
        self._models[model.name] = model

    def notify_freed(self) -> None:
        """Wake the loads that wait for room, since a model has become idle or has left memory."""
        self._freed.set()
        self._freed = asyncio.Event()
        self._idle.update()

    def close(self) -> None:
        """Unload no models for lack of requests any more."""
        self._idle.stop()

    def held_by_others(self, name: str, device: str | None) -> int:
        """Return the bytes that all models but one hold on a device."""
        return sum(each.memory.get(device or "", 0) for each in self._others(name) if each.resident)

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

    def _sleeps_on(self, name: str) -> str | None:
        """Return the device that a model whose weights are on the host has left; None if they are not."""
        return self._models[name].device if self._models[name].asleep else None

    def _uses(self, model: ResidentModel, place: str) -> bool:
        """Return whether a model holds bytes in a place, or will hold some once it is loaded or awake."""
        return bool(model.memory.get(place) or self._needs.get(model.name, MemoryNeed()).bytes.get(place))

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
