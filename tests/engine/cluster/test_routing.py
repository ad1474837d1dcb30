"""Which replica runs a request."""

from __future__ import annotations

from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.routing import choose_replica
from octabox.engine.cluster.state import Device, ModelCosts, Replica, RoutedRequest

COSTS = ModelCosts(load_seconds=20, run_seconds=4, adapter_seconds=2, rate=0.1)


def costs(_model: str) -> ModelCosts:
    """Return the same costs for each model."""
    return COSTS


def cluster(*replicas: Replica, devices: int = 3, total: int = 100) -> ClusterIndex:
    """Return a cluster with these replicas."""
    index = ClusterIndex()
    for number in range(devices):
        index.put_device(Device(f"d{number}", total, node=f"n{number // 2}"))
    for replica in replicas:
        index.put(replica)
    return index


def test_a_request_runs_on_the_replica_that_is_free_first() -> None:
    """Of two replicas of the model, the one with less work gets it."""
    index = cluster(Replica("a", "m", "d0", 10, busy_until=9), Replica("b", "m", "d1", 10, busy_until=5))
    route = choose_replica(index, RoutedRequest("m", 10), 0, costs)

    assert route is not None
    assert ("b", 5) == (route.replica, route.start)


def test_a_replica_with_the_adapters_is_preferred_until_its_wait_is_longer() -> None:
    """A wait shorter than loading the adapter is better than loading it."""
    request = RoutedRequest("m", 10, adapters=frozenset({"style"}))
    with_adapter = Replica("b", "m", "d1", 10, busy_until=1, adapters=frozenset({"style"}))
    index = cluster(Replica("a", "m", "d0", 10), with_adapter)
    first = choose_replica(index, request, 0, costs)
    index.put(Replica("b", "m", "d1", 10, busy_until=3, adapters=frozenset({"style"})))
    second = choose_replica(index, request, 0, costs)

    assert first is not None
    assert second is not None
    assert ("b", "a") == (first.replica, second.replica)


def test_a_request_joins_a_batch_that_waits() -> None:
    """A replica with a waiting batch of the same key is preferred to one with a little less work."""
    index = cluster(
        Replica("a", "m", "d0", 10, busy_until=6),
        Replica("b", "m", "d1", 10, busy_until=8, batch_keys=frozenset({"512"})),
    )
    joined = choose_replica(index, RoutedRequest("m", 10, batch_key="512"), 0, costs)
    other = choose_replica(index, RoutedRequest("m", 10, batch_key="1024"), 0, costs)

    assert joined is not None
    assert other is not None
    assert (("b", 4), ("a", 6)) == ((joined.replica, joined.start), (other.replica, other.start))


def test_a_wait_longer_than_a_load_loads_another_replica() -> None:
    """A replica is loaded on another device only where that is earlier than the wait for the one that is there."""
    index = cluster(Replica("a", "m", "d0", 10, busy_until=20))
    waits = choose_replica(index, RoutedRequest("m", 10), 0, costs)
    index.put(Replica("a", "m", "d0", 10, busy_until=60))
    loads = choose_replica(index, RoutedRequest("m", 10), 0, costs)

    assert waits is not None
    assert "a" == waits.replica
    assert loads is not None
    assert loads.placement is not None
    assert ("d2", 20) == (loads.placement.device, loads.start)  # The device of another node.


def test_a_model_without_a_replica_is_loaded() -> None:
    """From zero, the request starts after a load; without room there is no route."""
    empty = choose_replica(cluster(), RoutedRequest("m", 10), 7, costs)
    full = choose_replica(cluster(total=5), RoutedRequest("m", 10), 7, costs)

    assert empty is not None
    assert empty.placement is not None
    assert 27 == empty.start
    assert full is None


def test_a_draining_replica_gets_no_request() -> None:
    """One that is to be unloaded is passed over, and so is its device for a second one."""
    index = cluster(Replica("a", "m", "d0", 10, draining=True), devices=1)

    assert choose_replica(index, RoutedRequest("m", 10), 0, costs) is None


def test_the_same_cluster_gives_the_same_route() -> None:
    """Equal replicas are told apart by their names, whatever order they were added in."""
    names = ["c", "a", "b"]
    routes = []
    for order in (names, names[::-1]):
        devices = dict(zip(sorted(names), ("d0", "d1", "d2"), strict=True))
        index = cluster(*(Replica(name, "m", devices[name], 10) for name in order))
        routes.append(choose_replica(index, RoutedRequest("m", 10), 0, costs))

    assert routes[0] == routes[1]
