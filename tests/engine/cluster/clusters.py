"""Clusters for tests, and what happens in them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from octabox.engine.cluster.eviction import keep_value
from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.placement import Placement, choose_device
from octabox.engine.cluster.routing import choose_warm
from octabox.engine.cluster.state import Device, ModelCosts, Replica

#: Bytes of each device, and devices of a node.
TOTAL, NODE = 100, 2


def costs_of(model: str) -> ModelCosts:
    """Return the costs of a model, which differ by its name."""
    number = len(model)
    return ModelCosts(load_seconds=5.0 * number, run_seconds=2.0, rate=1 / (10 * number))


@dataclass
class SmallCluster:
    """A cluster that carries out what is decided, and checks that it may be.

    Args:
        devices: How many devices.
    """

    devices: int
    index: ClusterIndex = field(default_factory=ClusterIndex)
    running: list[str] = field(default_factory=list)
    pinned: set[str] = field(default_factory=set)
    now: float = 0.0

    def __post_init__(self) -> None:
        """Add the devices."""
        for number in range(self.devices):
            self.index.put_device(self.device(number))

    def device(self, number: int) -> Device:
        """Return one of the devices, as it is at first."""
        return Device(f"d{number}", TOTAL, node=f"n{number // NODE}")

    def send(self, model: str, size: int) -> str | Placement | None:
        """Run a request on a free replica, else on a new one; a decision that is not allowed raises AssertionError.

        Returns:
            The name of the free replica, or where a new one was loaded; None if neither is possible.
        """
        free = choose_warm(self.index.free_replicas(model))
        placement = None if free else choose_device(self.index, model, size, self.now, self._value, 5.0)
        name = self._load(model, size, placement) if placement else free.name if free else None
        if name is None:
            return None
        replica = self.index.replica(name)
        assert replica is not None
        assert placement or replica.free, "a replica that is not free was chosen"
        self.index.put(replace(replica, waiting=replica.waiting + 1, loading=False))
        self._work(replica.device, working=True)
        self.running.append(name)
        return placement or name

    def finish(self) -> None:
        """Let the oldest request finish."""
        if self.running:
            name = self.running.pop(0)
            self.now += 2
            if replica := self.index.replica(name):
                self.index.put(replace(replica, waiting=replica.waiting - 1))
                others = [each for each in self.index.on_device(replica.device) if each.waiting]
                self._work(replica.device, working=bool(others))

    def lose(self, number: int) -> None:
        """Lose a device, and get an empty one for it."""
        lost = {each.name for each in self.index.remove_device(f"d{number}")}
        self.running = [each for each in self.running if each not in lost]
        self.index.put_device(self.device(number))

    def _value(self, replica: Replica) -> float:
        return keep_value(costs_of(replica.model), self.index.count(replica.model))

    def _work(self, device: str, *, working: bool) -> None:
        until = self.now + 2 * working
        self.index.put_device(replace(self.index.device(device), busy_until=until, working=working))

    def _load(self, model: str, size: int, placement: Placement) -> str:
        """Load a replica where the placement says."""
        assert not self.index.holds(placement.device, model), "a second replica of a model is on a device"
        for name in placement.evicted:
            evicted = self.index.replica(name)
            assert evicted is not None
            assert evicted.device == placement.device
            assert not evicted.waiting, "a replica in use was evicted"
            assert not evicted.pinned, "a pinned replica was evicted"
            self.index.remove(name)
        assert self.index.free_bytes(placement.device) >= size, "a device has too few bytes"
        name = f"{model}@{placement.device}"
        self.index.put(Replica(name, model, placement.device, size, loading=True, pinned=model in self.pinned))
        return name
