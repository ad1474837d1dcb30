"""What a replica reserves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from octabox.engine.ray.resources import (
    accelerator_share,
    describe_resources,
    device_type,
    has_room,
    needed_bytes,
    replica_need,
)

CPUS, GPUS = {"CPU": 4.0, "memory": 1e9}, {"CPU": 8.0, "GPU": 2.0, "memory": 1e10}


@pytest.mark.parametrize(
    ("device", "nodes", "expected"),
    [
        (None, [CPUS], {"CPU": 1.0, "memory": 5e8}),
        (None, [CPUS, GPUS], {"GPU": 1.0}),
        ("cpu", [CPUS, GPUS], {"CPU": 1.0, "memory": 5e8}),
        ("cuda", [CPUS], {"GPU": 1.0}),
        ("accelerator", [CPUS], {"GPU": 1.0}),
    ],
)
def test_a_replica_reserves_an_accelerator_where_there_is_one(
    device: str | None, nodes: list[dict[str, float]], expected: dict[str, float]
) -> None:
    """A model on a CPU reserves the memory of its weights, too."""
    assert expected == replica_need(device, 500_000_000, nodes).resources()


def test_weights_of_unknown_size_reserve_no_memory() -> None:
    """Such as those of a model of the Hub that is not here."""
    assert {"CPU": 1.0} == replica_need("cpu", None, [CPUS]).resources()


def test_one_node_must_have_all_of_it() -> None:
    """What two nodes have together is no place."""
    assert has_room({"CPU": 1.0, "memory": 5e8}, [CPUS])
    assert not has_room({"GPU": 1.0, "memory": 2e9}, [CPUS, {"GPU": 1.0, "memory": 1e9}])


def test_resources_and_devices_in_words() -> None:
    """Bytes are in MiB, and the index of a device is not that of the cluster."""
    assert "1 CPU and 477 MiB of memory" == describe_resources({"CPU": 1.0, "memory": 5e8})
    assert ("cuda", "cpu", None) == (device_type("cuda:3"), device_type("cpu"), device_type(None))


GIB = 2**30


@pytest.mark.parametrize(
    ("needed", "card", "share"),
    [
        (6 * GIB, 24 * GIB, 0.25),
        (6 * GIB, 80 * GIB, 0.075),
        (24 * GIB, 24 * GIB, 1.0),
        (40 * GIB, 24 * GIB, 1.0),  # The worker offloads it.
        (1, 24 * GIB, 0.02),
        (6 * GIB, 0, 1.0),  # The node has declared nothing.
        (None, 24 * GIB, 1.0),
    ],
)
def test_small_models_share_an_accelerator(needed: int | None, card: int, share: float) -> None:
    """The share is by the bytes of the accelerator of that node, where they and those of the model are known."""
    assert share == accelerator_share(needed, card)
    assert {"GPU": share} == replica_need("cuda", 5, [GPUS], needed).resources(card)


@pytest.mark.parametrize(
    ("cards", "needed", "limit", "suitable"),
    [
        ([24, 80], 50, None, [[80]]),
        ([24, 80], 20, None, [[24, 80]]),
        ([24, 80], 50, 40, [[80], [24]]),  # With the limit none holds it, and the largest is the least bad.
        ([24, 40], 50, None, [[40], [24]]),
        ([0, 24], 50, None, [[0]]),
        ([24, 80], None, None, [[24, 80]]),
        ([], 50, None, []),
    ],
)
def test_a_replica_is_on_accelerators_that_hold_it(
    cards: list[int], needed: int | None, limit: int | None, suitable: list[list[int]]
) -> None:
    """Where none does, on the largest that has room; what is not declared is taken to be enough."""
    need = replica_need("cuda", 5, [GPUS], needed and needed * GIB, limit and limit * GIB)

    assert suitable == [[each // GIB for each in sizes] for sizes in need.suitable([each * GIB for each in cards])]


def test_a_share_that_was_requested_is_that_of_any_node() -> None:
    """What waits in the cluster cannot be changed any more."""
    need = replace(replica_need("cuda", 5, [GPUS], 6 * GIB), share=0.5)

    assert {"GPU": 0.5} == need.resources(24 * GIB) == need.resources(80 * GIB)


@pytest.mark.parametrize(("limit", "share"), [(None, 0.25), (12 * GIB, 0.5), (40 * GIB, 0.25), (3 * GIB, 1.0)])
def test_a_limit_makes_an_accelerator_smaller(limit: int | None, share: float) -> None:
    """The replicas that share it use no more bytes together than `max_memory` allows."""
    assert {"GPU": share} == replica_need("cuda", 5, [GPUS], 6 * GIB, limit).resources(24 * GIB)


@pytest.mark.parametrize("weights", [1, 4 * GIB, 20 * GIB])
def test_shares_of_replicas_never_exceed_the_device(weights: int) -> None:
    """As many replicas as have room by their shares have room by their bytes."""
    needed, total = needed_bytes(weights), 80 * GIB
    count = int(1 / accelerator_share(needed, total))

    assert needed > weights
    assert count >= 1
    assert count * needed <= total


def test_a_model_that_is_split_reserves_several_devices() -> None:
    """All on one node, and whole ones; on CPUs with the memory of each process."""
    assert {"GPU": 2.0} == replica_need("cuda", 500_000_000, [GPUS], needed=5, count=2).resources(24 * GIB)
    assert {"CPU": 2.0, "memory": 1e9} == replica_need("cpu", 500_000_000, [CPUS], count=2).resources()
    assert not has_room({"GPU": 4.0}, [GPUS, GPUS])
