"""Which free replica takes a request."""

from __future__ import annotations

import random
from typing import Any

import pytest

from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.routing import choose_warm
from octabox.engine.cluster.state import Device, Replica

STYLE = frozenset({"style"})

#: Devices of a cluster.
DEVICES = 5


def cluster(*replicas: Replica, working: str = "") -> ClusterIndex:
    """Return a cluster with these replicas, one of whose devices may run something."""
    index = ClusterIndex()
    for number in range(DEVICES):
        index.put_device(Device(f"d{number}", 100, busy_until=-99, working=f"d{number}" == working))
    for replica in replicas:
        index.put(replica)
    return index


def free(number: int, *adapters: str, **fields: Any) -> Replica:
    """Return a replica on a device of its own, which has been free for a shorter time the higher its number is."""
    return Replica(f"r{number}", "m", f"d{number}", 10, busy_until=number - 9, adapters=frozenset(adapters), **fields)


def chosen(index: ClusterIndex, model: str, *adapters: str) -> str | None:
    """Return the name of the replica that takes a request; None if none is free."""
    replica = choose_warm(index.free_replicas(model, adapters), frozenset(adapters))
    return replica.name if replica else None


def test_the_replica_that_has_been_free_longest_takes_it() -> None:
    """Of those with the same adapters."""
    index = cluster(free(1), free(0))

    assert "r0" == chosen(index, "m")
    assert chosen(index, "other") is None


def test_a_replica_with_the_adapters_is_preferred() -> None:
    """However long others have been free; where none has them, any takes it."""
    index = cluster(free(0), free(1, "style"))

    assert ["r1", "r0", "r0"] == [chosen(index, "m", *each) for each in (("style",), (), ("x",))]


def test_the_replica_that_lacks_the_fewest_adapters_is_preferred() -> None:
    """Also where others have each of its adapters, and have been free for longer; and where none has all of them."""
    index = cluster(free(0, "x"), free(1, "y"), free(2, "z"), free(3, "x", "y"))

    assert "r3" == chosen(index, "m", "x", "y")
    assert "r3" == chosen(index, "m", "x", "y", "z")
    assert "r2" == chosen(index, "m", "w", "z")


def test_no_other_free_replica_lacks_fewer_adapters() -> None:
    """Nor as many, and has been free for longer, whatever the replicas have had before, and which of them were unloaded."""
    rng, index, replicas = random.Random(1), cluster(), dict[int, Replica]()
    for _ in range(2000):
        number, requested, loaded = (
            rng.randrange(DEVICES),
            *(frozenset(rng.sample("xyz", rng.randrange(4))) for _ in "ab"),
        )
        if number in replicas and rng.random() < 0.2:
            index.remove(replicas.pop(number).name)
        else:
            since, waiting = rng.randrange(-3, 0), int(rng.random() < 0.2)
            replicas[number] = Replica(f"r{number}", "m", f"d{number}", 10, since, waiting, loaded)
            index.put(replicas[number])
        ranked = [
            (len(requested - each.adapters), each.busy_until, each.name) for each in replicas.values() if each.free
        ]

        assert (min(ranked)[-1] if ranked else None) == chosen(index, "m", *requested)

    for replica in replicas.values():
        index.remove(replica.name)
    assert {} == index._rankings._free  # Nothing is kept of adapters that no replica has any more.


@pytest.mark.parametrize("fields", [{"waiting": 1}, {"loading": True}, {"draining": True}])
def test_a_replica_that_is_not_free_takes_none(fields: dict[str, int]) -> None:
    """Nor does one whose device runs something; once it is free, it does."""
    index = cluster(free(0, "style", **fields))
    assert chosen(index, "m", "style") is None

    index.put(free(0, "style"))
    assert "r0" == chosen(index, "m", "style")
    index.put_device(Device("d0", 100, working=True))
    assert chosen(index, "m", "style") is None


def test_the_same_cluster_leads_to_the_same_choice() -> None:
    """Equal replicas are told apart by their names, whatever order they were added in."""
    replicas = [Replica(f"r{number}", "m", f"d{number}", adapters=STYLE) for number in range(3)]
    clusters = [cluster(*order) for order in (replicas, replicas[::-1])]

    assert ["r0", "r0"] == [chosen(index, "m", "style") for index in clusters]
    assert ["r0", "r0"] == [chosen(index, "m", "style", "other") for index in clusters]
