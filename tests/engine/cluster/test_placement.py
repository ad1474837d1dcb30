"""On which device a new replica is loaded."""

from __future__ import annotations

from octabox.engine.cluster.eviction import keep_value
from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.placement import choose_device
from octabox.engine.cluster.state import Device, ModelCosts, Replica


def value(replica: Replica) -> float:
    """Return what unloading a replica costs; the model 'rare' is requested hardly ever."""
    return keep_value(ModelCosts(20, 4, rate=1e-6 if replica.model == "rare" else 0.1), 1)


def cluster(*busy_until: float, total: int = 100) -> ClusterIndex:
    """Return a cluster of two devices a node, which are busy until these times."""
    index = ClusterIndex()
    for number, until in enumerate(busy_until):
        index.put_device(Device(f"d{number}", total, f"n{number // 2}", until))
    return index


def test_a_device_without_work_is_chosen() -> None:
    """Of devices with room, the one that is free first; of idle ones, the one that was idle longest."""
    busy, idle = (
        choose_device(cluster(9, 4, 7), "m", 50, 0, value, 20),
        choose_device(cluster(-1, -4, -2), "m", 50, 0, value, 20),
    )

    assert busy is not None
    assert idle is not None
    assert ("d1", "d1") == (busy.device, idle.device)


def test_replicas_of_a_model_fail_with_different_nodes() -> None:
    """The second replica is on another node, even where the first one has a device that was idle longer."""
    index = cluster(0, -100, 0, 0)
    index.put(Replica("a", "m", "d0", 50))
    placement = choose_device(index, "m", 50, 1, value, 20)

    assert placement is not None
    assert "d2" == placement.device


def test_what_is_hardly_used_makes_room() -> None:
    """An idle device where a rare model is unloaded is better than one with a common model, and than a long wait."""
    index = cluster(0, 0, 60)
    index.put(Replica("common", "common", "d0", 80))
    index.put(Replica("rare", "rare", "d1", 80))
    placement = choose_device(index, "m", 50, 0, value, 20)

    assert placement is not None
    assert ("d1", ("rare",)) == (placement.device, placement.evicted)
    assert placement.cost < 1


def test_nothing_in_use_makes_room() -> None:
    """Without a device that can have room there is no placement; an excluded device does not count."""
    index = cluster(0, 0)
    index.put(Replica("a", "x", "d0", 80, waiting=1))
    index.put(Replica("b", "y", "d1", 80, pinned=True))

    assert choose_device(index, "m", 50, 0, value, 20) is None
    assert choose_device(index, "m", 20, 0, value, 20, ["d0", "d1"]) is None
    assert choose_device(index, "m", 20, 0, value, 20) is not None
    assert choose_device(index, "m", 101, 0, value, 20) is None
