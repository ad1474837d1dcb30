"""On which device a new replica is loaded."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from octabox.engine.cluster.capacity import CapacityIndex
from octabox.engine.cluster.eviction import plan_eviction
from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.state import Replica

#: How many devices of each class of sizes are compared.
CANDIDATES = 2

#: How many devices that already hold the model are passed over in each class.
MAX_PASSED = 16

#: Share of the load time that each replica on the same node counts as, since both are lost with it.
SPREAD = 0.1


@dataclass(frozen=True)
class Placement:
    """Where a new replica is loaded.

    Args:
        device: Name of the device.
        evicted: Names of the replicas that are unloaded there first.
        cost: Seconds that unloading them is expected to cost later requests.
        wait: Seconds until the device has finished the work that it has.
    """

    device: str
    evicted: tuple[str, ...] = ()
    cost: float = 0.0
    wait: float = 0.0

    @property
    def seconds(self) -> float:
        """What it costs, with the wait."""
        return self.cost + self.wait


def choose_device(
    index: ClusterIndex,
    model: str,
    size: int,
    now: float,
    value: Callable[[Replica], float],
    load_seconds: float,
    excluded: Collection[str] = (),
) -> Placement | None:
    """Return where to load a new replica of a model; None if nothing that may be unloaded makes room for it.

    It is the device where it costs least: the work that the device has, what must be unloaded, and how many replicas of the
    model fail with it. No device gets a second replica of a model.

    Args:
        index: The cluster.
        model: Key of the model.
        size: Bytes that the replica will hold.
        now: The time.
        value: Returns the seconds that unloading a replica is expected to cost.
        load_seconds: What a load of the model takes.
        excluded: Devices that must not be used.
    """
    search = _Search(index, model, size, now, value, load_seconds, excluded)
    found = search.best(index.roomy)
    if found is None or found.wait > 0:
        # A device that is idle, but full, may be better than one that has room, but is busy.
        found = search.best(index.reclaimable, found)
    return found


class _Search:
    """The search for the device of one replica; the arguments are those of `choose_device`."""

    def __init__(
        self,
        index: ClusterIndex,
        model: str,
        size: int,
        now: float,
        value: Callable[[Replica], float],
        load_seconds: float,
        excluded: Collection[str],
    ) -> None:
        self._index, self._model, self._size, self._now, self._value = index, model, size, now, value
        self._lost_together, self._excluded = SPREAD * load_seconds, excluded

    def best(self, devices: CapacityIndex, other: Placement | None = None) -> Placement | None:
        """Return the best of the first devices of each class that the model may be on, and another one."""
        skip = min(self._index.count(self._model) + len(self._excluded), MAX_PASSED)
        names = devices.firsts(self._size, CANDIDATES, self._allows, skip)
        found = [each for name in names if (each := self._place(name))]
        return min([*found, other] if other else found, key=self._rank, default=None)

    def _allows(self, name: str) -> bool:
        return name not in self._excluded and not self._index.holds(name, self._model)

    def _place(self, name: str) -> Placement | None:
        """Return what a new replica on a device costs; None if there is no room."""
        index = self._index
        evicted = plan_eviction(index.on_device(name), self._size - index.free_bytes(name), self._value)
        if evicted is None:
            return None
        cost = sum(self._value(each) for each in evicted)
        wait = index.device_wait(name, self._now)
        return Placement(name, tuple(each.name for each in evicted), cost, wait)

    def _rank(self, placement: Placement) -> tuple[float, float, str]:
        """Return the rank of a device, the best first; of equal ones, the device that was idle longest."""
        device = self._index.device(placement.device)
        same_node = self._index.count_on_node(self._model, device.node)
        rank = placement.seconds + self._lost_together * same_node
        return (rank, device.busy_until, placement.device)
