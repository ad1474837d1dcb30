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
    processors: int = 0,
) -> Placement | None:
    """Return where to load a new replica of a model; None if nothing that may be unloaded makes room for it.

    It is the device where it costs least: the work that the device has, what must be unloaded, and how many replicas of the
    model fail with it. No device gets a second replica of a model, unless it is the CPUs of a node.

    Args:
        index: The cluster.
        model: Key of the model.
        size: Bytes that the replica will hold.
        now: The time.
        value: Returns the seconds that unloading a replica is expected to cost.
        load_seconds: What a load of the model takes.
        excluded: Devices that must not be used.
        processors: CPUs that the replica will reserve, where they are counted.
    """
    search = _Search(index, model, (size, processors), now, value, load_seconds, excluded)
    found = search.best(index.roomy)
    if found is None or found.wait > 0:
        # A device that is idle, but full, may be better than one that has room, but is busy.
        found = search.best(index.reclaimable, found)
    return found


def rank_of(index: ClusterIndex, model: str, placement: Placement, load_seconds: float) -> tuple[float, float, str]:
    """Return the rank of a device, the best first; of equal ones, the device that was idle longest.

    Args:
        index: The cluster.
        model: Key of the model that is to be loaded.
        placement: What that costs on the device.
        load_seconds: What a load of the model takes.
    """
    device = index.device(placement.device)
    same_node = index.count_on_node(model, device.node)
    return (placement.seconds + SPREAD * load_seconds * same_node, device.busy_until, placement.device)


class _Search:
    """The search for the device of one replica; the arguments are those of `choose_device`."""

    def __init__(
        self,
        index: ClusterIndex,
        model: str,
        size: tuple[int, int],
        now: float,
        value: Callable[[Replica], float],
        load_seconds: float,
        excluded: Collection[str],
    ) -> None:
        self._index, self._model, self._now, self._value = index, model, now, value
        self._size, self._processors = size
        self._load_seconds, self._excluded = load_seconds, excluded

    def best(self, devices: CapacityIndex, other: Placement | None = None) -> Placement | None:
        """Return the best of the first devices of each class that the model may be on, and another one."""
        skip = min(self._index.count(self._model) + len(self._excluded), MAX_PASSED)
        names = devices.firsts(self._size, CANDIDATES, self._allows, skip, self._processors)
        found = [each for name in names if (each := self._place(name))]
        return min([*found, other] if other else found, key=self._rank, default=None)

    def _allows(self, name: str) -> bool:
        return name not in self._excluded and not self._index.holds(name, self._model)

    def _place(self, name: str) -> Placement | None:
        """Return what a new replica on a device costs; None if there is no room."""
        index = self._index
        missing, processors = self._size - index.free_bytes(name), self._processors - index.free_processors(name)
        evicted = plan_eviction(index.on_device(name), missing, self._value, processors if self._processors else 0)
        if evicted is None:
            return None
        cost = sum(self._value(each) for each in evicted)
        wait = index.device_wait(name, self._now)
        return Placement(name, tuple(each.name for each in evicted), cost, wait)

    def _rank(self, placement: Placement) -> tuple[float, float, str]:
        return rank_of(self._index, self._model, placement, self._load_seconds)
