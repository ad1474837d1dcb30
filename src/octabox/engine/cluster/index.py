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
    """A device with its replicas, the bytes that they hold, and those of what may be unloaded."""

    device: Device
    replicas: dict[str, Replica] = field(default_factory=dict)
    held: int = 0
    evictable: int = 0

    def count(self, replica: Replica, sign: int) -> None:
        """Add (1) or remove (-1) the bytes of a replica."""
        self.held += sign * replica.size
        self.evictable += sign * replica.size if replica.evictable else 0


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
        self._free, self._reclaimable = CapacityIndex(), CapacityIndex()

    def put_device(self, device: Device) -> None:
        """Add a device, or change it."""
        slot = self._slots.get(device.name)
        if slot is None:
            slot = self._slots[device.name] = _Slot(device)
        before, slot.device = slot.device, device
        if (before.busy_until, before.working) != (device.busy_until, device.working):
            for replica in slot.replicas.values():
                self._rank(replica)
        self._measure(slot)

    def remove_device(self, name: str) -> list[Replica]:
        """Remove a device that was lost, and return the replicas that were on it."""
        slot = self._slots.get(name)
        lost = list(slot.replicas.values()) if slot else []
        for replica in lost:
            self.remove(replica.name)
        self._slots.pop(name, None)
        self._free.discard(name)
        self._reclaimable.discard(name)
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
        if before is None or (before.size, before.evictable) != (replica.size, replica.evictable):
            if before is not None:
                slot.count(before, -1)
            slot.count(replica, 1)
            self._measure(slot)

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
        self._measure(slot)

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
        """Return whether a device holds a replica of a model."""
        return any(each.model == model for each in self._slots[device].replicas.values())

    def free_bytes(self, device: str) -> int:
        """Return how many bytes of a device no replica holds."""
        slot = self._slots[device]
        return slot.device.total - slot.held

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
        return self._free

    @property
    def reclaimable(self) -> CapacityIndex:
        """The devices by the bytes that are free once what is not in use there is unloaded."""
        return self._reclaimable

    def _rank(self, replica: Replica) -> None:
        """Rank a replica by when it is free, among those of its model and, while it is free, of its adapters."""
        self._rankings.set(replica, self.free_at(replica), idle=not self._slots[replica.device].device.working)

    def _measure(self, slot: _Slot) -> None:
        """Index what a device has free, and what it would have."""
        name, at = slot.device.name, slot.device.busy_until
        if slot.device.working:
            at += WORKING  # One that is overdue, too, is after all that are idle.
        if slot.device.draining:
            self._free.discard(name)
            self._reclaimable.discard(name)
            return
        free = slot.device.total - slot.held
        self._free.set(name, free, at)
        self._reclaimable.set(name, free + slot.evictable, at)


def _remaining(until: float, now: float) -> float:
    """Return the seconds that work is expected to take yet; what is overdue is taken to be so for as long again."""
    return 0.0 if math.isinf(until) else abs(until - now)
