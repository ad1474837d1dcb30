"""Clusters for tests, and what happens in them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.routing import Route, choose_replica
from octabox.engine.cluster.state import Device, ModelCosts, Replica, RoutedRequest

#: Bytes of each device, and devices of a node.
TOTAL, NODE = 100, 2


def costs_of(model: str) -> ModelCosts:
    """Return the costs of a model, which differ by its name."""
    number = len(model)
    return ModelCosts(load_seconds=5.0 * number, run_seconds=2.0, adapter_seconds=1.0, rate=1 / (10 * number))


@dataclass
class SmallCluster:
    """A cluster that carries out what is decided, and checks that it may be.

    Args:
        devices: How many devices.
    """

    devices: int
    index: ClusterIndex = field(default_factory=ClusterIndex)
    running: list[tuple[str, float]] = field(default_factory=list)
    pinned: set[str] = field(default_factory=set)
    now: float = 0.0

    def __post_init__(self) -> None:
        """Add the devices."""
        for number in range(self.devices):
            self.index.put_device(self.device(number))

    def device(self, number: int) -> Device:
        """Return one of the devices, as it is at first."""
        return Device(f"d{number}", TOTAL, node=f"n{number // NODE}")

    def send(self, request: RoutedRequest) -> Route | None:
        """Route a request, and carry out the decision; a decision that is not allowed raises AssertionError."""
        route = choose_replica(self.index, request, self.now, costs_of)
        if route is None:
            return None
        name = route.replica
        if route.placement is not None:
            name = self._load(request, route)
        replica = self.index.replica(name or "")
        assert replica is not None
        assert not replica.draining
        self.index.put(replace(replica, waiting=replica.waiting + 1, busy_until=route.start + 2, loading=False))
        self.running.append((replica.name, route.start + 2))
        return route

    def finish(self) -> None:
        """Let the oldest request finish."""
        if self.running:
            name, end = self.running.pop(0)
            self.now = max(self.now, end)
            if replica := self.index.replica(name):
                self.index.put(replace(replica, waiting=replica.waiting - 1))

    def lose(self, number: int) -> None:
        """Lose a device, and get an empty one for it."""
        lost = {each.name for each in self.index.remove_device(f"d{number}")}
        self.running = [each for each in self.running if each[0] not in lost]
        self.index.put_device(self.device(number))

    def _load(self, request: RoutedRequest, route: Route) -> str:
        """Load a replica where the route says."""
        placement = route.placement
        assert placement is not None
        assert not self.index.holds(placement.device, request.model), "a second replica of a model is on a device"
        for name in placement.evicted:
            evicted = self.index.replica(name)
            assert evicted is not None
            assert evicted.device == placement.device
            assert not evicted.waiting, "a replica in use was evicted"
            assert not evicted.pinned, "a pinned replica was evicted"
            self.index.remove(name)
        assert self.index.free_bytes(placement.device) >= request.size, "a device has too few bytes"
        name = f"{request.model}@{placement.device}"
        pinned = request.model in self.pinned
        self.index.put(Replica(name, request.model, placement.device, request.size, loading=True, pinned=pinned))
        return name
