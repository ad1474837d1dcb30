"""Whatever happens in a cluster, its index and the decisions stay within what is allowed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cluster.clusters import TOTAL, SmallCluster
from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.state import Device, Replica

MODELS = {"a": 20, "bb": 45, "ccc": 70, "dddd": 100}

requests = st.tuples(st.just("send"), st.sampled_from(sorted(MODELS)))
events = st.lists(
    st.one_of(
        requests,
        requests,
        st.tuples(st.just("finish"), st.just("")),
        st.tuples(st.just("pin"), st.sampled_from(["a", "bb"])),
        st.tuples(st.just("lose"), st.sampled_from(["0", "1"])),
    ),
    max_size=60,
)


def play(devices: int, happened: list[tuple[str, str]]) -> list[object]:
    """Let events happen in a cluster, and return the decisions."""
    cluster = SmallCluster(devices)
    routes: list[object] = []
    for event, detail in happened:
        if event == "send":
            routes.append(cluster.send(detail, MODELS[detail]))
        elif event == "finish":
            cluster.finish()
        elif event == "pin":
            cluster.pinned.add(detail)
        else:
            cluster.lose(int(detail))
        for number in range(devices):
            held = sum(each.size for each in cluster.index.on_device(f"d{number}"))
            assert held <= TOTAL
            assert cluster.index.free_bytes(f"d{number}") == TOTAL - held
    return routes


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5), events)
def test_no_decision_exceeds_bytes_or_evicts_what_is_in_use(devices: int, happened: list[tuple[str, str]]) -> None:
    """No device holds more than it has; what is in use or pinned stays; the same events lead to the same decisions."""
    assert play(devices, happened) == play(devices, happened)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5), events)
def test_no_request_waits_for_ever(devices: int, happened: list[tuple[str, str]]) -> None:
    """Once what runs has finished, a model that no pinned one leaves without room gets a route."""
    cluster = SmallCluster(devices)
    for event, detail in happened:
        if event == "send":
            cluster.send(detail, MODELS[detail])
        elif event == "lose":
            cluster.lose(int(detail))

    for model, size in MODELS.items():
        for _ in list(cluster.running):
            cluster.finish()
        assert cluster.send(model, size)


def test_a_lost_device_takes_its_replicas_along() -> None:
    """They are returned, and are no candidates any more."""
    cluster = SmallCluster(2)
    cluster.send("a", 20)
    (name,) = (each.name for number in range(2) for each in cluster.index.on_device(f"d{number}"))
    replica = cluster.index.replica(name)
    assert replica is not None

    assert [name] == [each.name for each in cluster.index.remove_device(replica.device)]
    assert ([], []) == (cluster.index.free_replicas("a"), cluster.index.waits("a", 9, 0))
    assert (0, 0) == (cluster.index.count("a"), cluster.index.count_on_node("a", "n0"))
    assert [] == cluster.index.remove_device("unknown")


def test_a_draining_device_takes_no_new_replica() -> None:
    """The replicas that it has still serve."""
    cluster = SmallCluster(2)
    cluster.index.put(Replica("one", "a", "d0", 20))
    for number in range(2):
        cluster.index.put_device(Device(f"d{number}", TOTAL, draining=True))

    assert cluster.send("bb", 45) is None
    assert "one" == cluster.send("a", 20)


@pytest.mark.parametrize(("now", "wait"), [(0, 10), (8, 2), (10, 0), (13, 3)])
def test_work_that_is_overdue_is_taken_to_be_so_for_as_long_again(now: float, wait: float) -> None:
    """A replica is not free because its time is over, and no request is sent there."""
    index = ClusterIndex()
    index.put_device(Device("d", TOTAL, busy_until=10, working=True))
    index.put(Replica("a", "m", "d", 10, waiting=1))

    assert [wait] == index.waits("m", 9, now)
    assert wait == index.device_wait("d", now)
    assert [] == index.free_replicas("m")


def test_devices_that_work_are_after_those_that_are_idle() -> None:
    """Also where their work is overdue."""
    index = ClusterIndex()
    index.put_device(Device("late", TOTAL, busy_until=-50, working=True))
    index.put_device(Device("idle", TOTAL, busy_until=-1))

    assert ["idle", "late"] == index.roomy.firsts(10, 2)
