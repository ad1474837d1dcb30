"""On which device a new replica is loaded."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from octabox.engine.cluster.eviction import keep_value, plan_eviction
from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.state import ModelCosts, Replica

#: How many devices of each class of sizes are compared, those that already hold the model not counted.
CANDIDATES = 3

#: How many devices that already hold the model are passed over in each class.
MAX_PASSED = 32

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


def choose_device(
    index: ClusterIndex,
    model: str,
    size: int,
    now: float,
    costs: Callable[[str], ModelCosts],
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
        costs: Returns what was learned of a model.
        excluded: Devices that must not be used.
    """
    count = CANDIDATES + min(index.count(model) + len(excluded), MAX_PASSED)
    names = dict.fromkeys([*index.roomy(size, count), *index.reclaimable(size, count)])
    best: tuple[float, float, str] | None = None
    found: Placement | None = None
    for name in names:
        if name in excluded or index.holds(name, model):
            continue
        placement = _placement(index, name, size, now, costs)
        if placement is None:
            continue
        device = index.device(name)
        lost_together = SPREAD * costs(model).load_seconds * index.count_on_node(model, device.node)
        rank = (placement.cost + placement.wait + lost_together, device.busy_until, name)
        if best is None or rank < best:
            best, found = rank, placement
    return found


def _placement(
    index: ClusterIndex, name: str, size: int, now: float, costs: Callable[[str], ModelCosts]
) -> Placement | None:
    """Return what a new replica on a device costs; None if there is no room."""

    def value(replica: Replica) -> float:
        return keep_value(costs(replica.model), index.count(replica.model))

    evicted = plan_eviction(index.on_device(name), size - index.free_bytes(name), value)
    if evicted is None:
        return None
    cost = sum(value(each) for each in evicted)
    return Placement(name, tuple(each.name for each in evicted), cost, max(0.0, index.device(name).busy_until - now))
