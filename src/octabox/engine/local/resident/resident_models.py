"""The models that may be in memory, and what each of them holds there or will hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from octabox.config.memory.limits import HOST
from octabox.engine.local.resident.budget import MemoryNeed
from octabox.engine.local.resident.room import ResidentModel


class ResidentModels:
    """The models of an engine.

    Args:
        share_devices: Whether models whose devices have the same name share its memory.
    """

    def __init__(self, *, share_devices: bool = True) -> None:
        self.by_name: dict[str, ResidentModel] = {}
        #: The names of those that are about to be loaded.
        self.admitted: set[str] = set()
        #: What those that are being loaded will hold.
        self.needs: dict[str, MemoryNeed] = {}
        self._share_devices = share_devices

    def resident(self) -> list[ResidentModel]:
        """Return those in memory, or being loaded."""
        return [each for each in self.by_name.values() if each.resident]

    def others(self, name: str) -> list[ResidentModel]:
        """Return all models but one."""
        return [each for each in self.by_name.values() if each.name != name]

    def occupants(self, name: str = "") -> list[ResidentModel]:
        """Return the models but one that are in memory, or about to be loaded."""
        return [each for each in self.others(name) if each.resident or each.name in self.admitted]

    def on_devices(self, name: str, *devices: str | None) -> list[ResidentModel]:
        """Return the models but one that may be on one of these devices; None is any."""
        if not self._share_devices:
            return []
        return [
            each
            for each in self.others(name)
            if None in devices or each.device in devices or any(each.memory.get(device or "") for device in devices)
        ]

    def held_by_others(self, name: str, device: str | None) -> int:
        """Return the bytes that all models but one hold on a device."""
        return sum(each.memory.get(device or "", 0) for each in self.others(name) if each.resident)

    def held(self, name: str = "") -> list[Mapping[str, int]]:
        """Return what each model but one holds, or will hold once it is loaded or awake."""
        held: list[Mapping[str, int]] = []
        for each in self.others(name):
            need, found = self.needs.get(each.name, MemoryNeed()).bytes, each.memory if each.resident else {}
            held.append({place: max(need.get(place, 0), found.get(place, 0)) for place in {**need, **found}})
        return held

    def loading(self, name: str) -> dict[str, int]:
        """Return the bytes that the models but one which are being loaded will hold, and have not taken yet."""
        left: Counter[str] = Counter()
        for each in self.others(name):
            taken = {HOST: each.host_bytes} if each.name in self.needs else {}
            needed = self.needs.get(each.name, MemoryNeed()).bytes
            left.update({place: max(0, size - taken.get(place, 0)) for place, size in needed.items()})
        return left

    def sleeps_on(self, name: str) -> str | None:
        """Return the device that a model whose weights are on the host has left; None if they are not."""
        return self.by_name[name].device if self.by_name[name].asleep else None

    def uses(self, model: ResidentModel, place: str) -> bool:
        """Return whether a model holds bytes in a place, or will hold some once it is loaded or awake."""
        return bool(model.memory.get(place) or self.needs.get(model.name, MemoryNeed()).bytes.get(place))
