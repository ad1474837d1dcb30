"""The devices and replicas of a cluster, indexed so that no decision looks at all of them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from octabox.engine.cluster.capacity import CapacityIndex
from octabox.engine.cluster.replica_rankings import ReplicaRankings
from octabox.engine.cluster.state import Device, Replica

#: What the rank of a device that runs something is greater by.
WORKING = 1e12


@dataclass
class _Slot:
    """A device with its replicas, the bytes and CPUs that they hold, and those of what may be unloaded."""

    device: Device
    replicas: dict[str, Replica] = field(default_factory=dict)
    held: int = 0
    evictable: int = 0
    held_processors: int = 0
    evictable_processors: int = 0

    @property
    def free(self) -> int:
        """The bytes that no replica holds."""
        return self.device.total - self.held

    @property
    def free_processors(self) -> int:
        """The CPUs that no replica holds; 0 where they are not counted."""
        return 0 if self.device.processors is None else self.device.processors - self.held_processors

    def count(self, replica: Replica, sign: int) -> None:
        """Add (1) or remove (-1) what a replica holds."""
        self.held += sign * replica.size
        self.held_processors += sign * replica.processors
        if replica.evictable:
            self.evictable += sign * replica.size
            self.evictable_processors += sign * replica.processors

    def holds(self, model: str) -> bool:
        """Return whether there is a replica of a model that excludes another one, as it does not on several CPUs."""
        return self.device.processors is None and any(each.model == model for each in self.replicas.values())


class _Offers:
    """The devices by what is free there, and by what would be once that which is not in use there was unloaded."""

    def __init__(self) -> None:
        self.free, self.reclaimable = CapacityIndex(), CapacityIndex()

    def set(self, slot: _Slot) -> None:
        """Add a device, or change it; one that drains offers nothing."""
        name, at = slot.device.name, slot.device.busy_until
        if slot.device.working:
            at += WORKING  # One that is overdue, too, is after all that are idle.
        if slot.device.draining:
            self.discard(name)
            return
        free, processors = slot.free, slot.free_processors
        self.free.set(name, free, at, processors)
        self.reclaimable.set(name, free + slot.evictable, at, processors + slot.evictable_processors)

    def discard(self, name: str) -> None:
        """Remove a device, if it is there."""
        self.free.discard(name)
        self.reclaimable.discard(name)


class ClusterIndex:
    """The devices and replicas that decisions are made about.

    Each change takes a time that grows with the logarithm of their number, and with how many replicas share a device.
    """

    def __init__(self) -> None:
        self._slots: dict[str, _Slot] = {}
        self._replicas: dict[str, Replica] = {}
        self._rankings = ReplicaRankings()
        self._nodes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._counts: Counter[str] = Counter()
        self._offers = _Offers()

    def put_device(self, device: Device) -> None:
        """Add a device, or change it."""
        slot = self._slots.get(device.name)
        if slot is None:
            slot = self._slots[device.name] = _Slot(device)
        before, slot.device = slot.device, device
        if (before.busy_until, before.working) != (device.busy_until, device.working):
            for replica in slot.replicas.values():
                self._rank(replica)
        self._offers.set(slot)

    def remove_device(self, name: str) -> list[Replica]:
        """Remove a device that was lost, and return the replicas that were on it."""
        slot = self._slots.get(name)
        lost = list(slot.replicas.values()) if slot else []
        for replica in lost:
            self.remove(replica.name)
        self._slots.pop(name, None)
        self._offers.discard(name)
        return lost

    def put(self, replica: Replica) -> None:
        """Add a replica, or change it; its model and its device stay.

        Raises:
            KeyError: Its device is unknown.
        """
        slot, before = self._slots[replica.device], self._replicas.get(replica.name)
        if before is None:
            self._nodes[replica.model][slot.device.node] += 1
            self._counts[replica.model] += 1
        elif before.adapters != replica.adapters:
            self._rankings.discard(before)
        self._replicas[replica.name] = slot.replicas[replica.name] = replica
        self._rank(replica)
        if before is None or _counted(before) != _counted(replica):
            if before is not None:
                slot.count(before, -1)
            slot.count(replica, 1)
            self._offers.set(slot)

    def remove(self, name: str) -> None:
        """Remove a replica, which holds no memory any more; an unknown one is ignored."""
        if (replica := self._replicas.pop(name, None)) is None:
            return
        slot = self._slots[replica.device]
        del slot.replicas[name]
        slot.count(replica, -1)
        self._rankings.discard(replica)
        self._nodes[replica.model][slot.device.node] -= 1
        self._counts[replica.model] -= 1
        self._offers.set(slot)

    def replica(self, name: str) -> Replica | None:
        """Return a replica; None if it is unknown."""
        return self._replicas.get(name)

    def device(self, name: str) -> Device:
        """Return a device."""
        return self._slots[name].device

    def on_device(self, name: str) -> list[Replica]:
        """Return the replicas on a device."""
        return list(self._slots[name].replicas.values())

    def of_model(self, model: str) -> list[Replica]:
        """Return all replicas of a model, those that drain excepted; their number is the cost."""
        return [self._replicas[name] for name in self._rankings.firsts(model, self.count(model))]

    def holds(self, device: str, model: str) -> bool:
        """Return whether a device holds a replica of a model that excludes another one there."""
        return self._slots[device].holds(model)

    def free_bytes(self, device: str) -> int:
        """Return how many bytes of a device no replica holds."""
        return self._slots[device].free

    def free_processors(self, device: str) -> int:
        """Return how many CPUs of a device no replica holds; 0 where they are not counted."""
        return self._slots[device].free_processors

    def count(self, model: str) -> int:
        """Return how many replicas a model has."""
        return self._counts[model]

    def count_on_node(self, model: str, node: str) -> int:
        """Return how many replicas of a model are on a node."""
        return self._nodes[model][node]

    def free_at(self, replica: Replica) -> float:
        """Return when a replica will have finished what it has, and its device what was there before."""
        return max(replica.busy_until, self._slots[replica.device].device.busy_until)

    def wait_of(self, replica: Replica, now: float) -> float:
        """Return the seconds until a replica is expected to be free."""
        device = self._slots[replica.device].device
        busy = replica.busy_until if replica.loading else -math.inf
        return max(_remaining(busy, now), _remaining(device.busy_until, now) if device.working else 0.0)

    def device_wait(self, name: str, now: float) -> float:
        """Return the seconds until a device is expected to have finished what it has."""
        device = self._slots[name].device
        return _remaining(device.busy_until, now) if device.working else max(0.0, device.busy_until - now)

    def waits(self, model: str, count: int, now: float) -> list[float]:
        """Return the seconds until each of the first replicas of a model, so many at most, is expected to be free."""
        return [self.wait_of(self._replicas[name], now) for name in self._rankings.firsts(model, count)]

    def free_replicas(self, model: str, adapters: Iterable[str] = ()) -> list[Replica]:
        """Return the free replicas of a model of which one is the best for some adapters, the longest free one first."""
        found = [self._replicas[name] for name in self._rankings.free(model, adapters)]
        return sorted(found, key=lambda each: (self.free_at(each), each.name))

    @property
    def roomy(self) -> CapacityIndex:
        """The devices by the bytes that are free."""
        return self._offers.free

    @property
    def reclaimable(self) -> CapacityIndex:
        """The devices by the bytes that are free once what is not in use there is unloaded."""
        return self._offers.reclaimable

    def _rank(self, replica: Replica) -> None:
        """Rank a replica by when it is free, among those of its model and, while it is free, of its adapters."""
        self._rankings.set(replica, self.free_at(replica), idle=not self._slots[replica.device].device.working)


def _counted(replica: Replica) -> tuple[int, int, bool]:
    """Return what a device counts of a replica."""
    return replica.size, replica.processors, replica.evictable


def _remaining(until: float, now: float) -> float:
    """Return the seconds that work is expected to take yet; what is overdue is taken to be so for as long again."""
    return 0.0 if math.isinf(until) else abs(until - now)
