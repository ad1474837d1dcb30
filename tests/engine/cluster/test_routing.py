"""Which free replica takes a request."""

from __future__ import annotations

import pytest

from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.routing import choose_warm
from octabox.engine.cluster.state import Device, Replica

STYLE = frozenset({"style"})


def cluster(*replicas: Replica, working: str = "") -> ClusterIndex:
    """Return a cluster with these replicas, one of whose devices may run something."""
    index = ClusterIndex()
    for number in range(3):
        index.put_device(Device(f"d{number}", 100, busy_until=-99, working=f"d{number}" == working))
    for replica in replicas:
        index.put(replica)
    return index


def test_the_replica_that_has_been_free_longest_takes_it() -> None:
    """Of those with the same adapters."""
    index = cluster(Replica("a", "m", "d0", 10, busy_until=-5), Replica("b", "m", "d1", 10, busy_until=-9))

    assert "b" == choose_warm(index, "m")
    assert choose_warm(index, "other") is None


def test_a_replica_with_the_adapters_is_preferred() -> None:
    """However long others have been free; where none has them, any takes it."""
    index = cluster(
        Replica("a", "m", "d0", 10, busy_until=-9),
        Replica("b", "m", "d1", 10, busy_until=-1, adapters=STYLE),
    )

    assert ["b", "a", "a"] == [choose_warm(index, "m", each) for each in (STYLE, frozenset(), frozenset({"x"}))]


@pytest.mark.parametrize("fields", [{"waiting": 1}, {"loading": True}, {"draining": True}])
def test_a_replica_that_is_not_free_takes_none(fields: dict[str, int]) -> None:
    """Nor does one whose device runs something; once it is free, it does."""
    index = cluster(Replica("a", "m", "d0", 10, adapters=STYLE, **fields))  # type: ignore[arg-type]
    assert choose_warm(index, "m", STYLE) is None

    index.put(Replica("a", "m", "d0", 10, adapters=STYLE))
    assert "a" == choose_warm(index, "m", STYLE)
    index.put_device(Device("d0", 100, working=True))
    assert choose_warm(index, "m", STYLE) is None


def test_the_same_cluster_leads_to_the_same_choice() -> None:
    """Equal replicas are told apart by their names, whatever order they were added in."""
    names = ["c", "a", "b"]
    devices = dict(zip(sorted(names), ("d0", "d1", "d2"), strict=True))
    clusters = [cluster(*(Replica(name, "m", devices[name]) for name in order)) for order in (names, names[::-1])]

    assert ["a", "a"] == [choose_warm(index, "m") for index in clusters]
