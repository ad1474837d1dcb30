"""On which node a replica is placed, and what is unloaded there, also where accelerators differ and nodes are many."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from octabox.engine.ray.node_placement import FailedPlaces, HeldPlace, NodeChoice, PlaceRequest
from octabox.engine.ray.places.node_index import NodeIndex
from octabox.engine.ray.places.snapshot import NodeResources
from octabox.engine.ray.resources import ACCELERATOR_BYTES, ReplicaNeed, Resources

GIB = 2**30


@dataclass
class Resident:
    """A replica in memory."""

    name: str
    keep_value: float = 1.0
    idle: bool = True
    pinned: bool = False
    last_used: float = 0.0
    memory: dict[str, int] = field(default_factory=dict)
    yields_to: str = ""


def residents(*found: Resident) -> dict[str, Any]:
    """Return replicas by their names."""
    return {each.name: each for each in found}


GPU, CPU = {"GPU": 1.0}, {"CPU": 1.0, "memory": 4e9}


def need_of(resources: Resources) -> ReplicaNeed:
    """Return the need of a replica that reserves the same on each node."""
    if gpus := resources.get("GPU"):
        return ReplicaNeed(accelerators=max(1, int(gpus)), share=min(gpus, 1.0))
    return ReplicaNeed(cpus=resources["CPU"], memory=resources.get("memory", 0.0))


def choose_node(
    model: str,
    resources: Resources,
    free: Mapping[str, Resources],
    held: Mapping[str, HeldPlace],
    there: Mapping[str, Any],
    cards: Mapping[str, int] | None = None,
    refused: Collection[str] = (),
) -> NodeChoice | None:
    """Return the node for a replica of a cluster with these places, on whose nodes this is free beside them.

    Args:
        model: Name of its model.
        resources: What it reserves.
        free: What is free on each node.
        held: The places.
        there: The replicas in memory.
        cards: How many accelerators nodes have of which others hold a part.
        refused: Nodes that have refused it.
    """
    index = NodeIndex(there.get)
    for name, left in free.items():
        total: dict[str, float] = dict(left)
        for place in held.values():
            if place.node == name:
                total |= {key: total.get(key, 0.0) + amount for key, amount in place.resources.items()}
        if cards and name in cards:
            total["GPU"] = cards[name]
        index.update(name, NodeResources(total, left))
    for name, place in held.items():
        index.put(name, place)
    for name in free:
        index.update(name, NodeResources(index.resources(name).total, free[name]))
    request = PlaceRequest("new", model, need_of(resources), refused={name: free[name] for name in refused})
    return index.choose(request)


def test_a_free_place_needs_no_unload() -> None:
    """It is on a node without a replica of the model, then on that with the most room."""
    free = {"a": {"GPU": 4.0}, "b": {"GPU": 2.0}, "c": {"GPU": 1.0}}
    held = {"m": HeldPlace("m", "a", GPU)}
    there = residents(Resident("m"))
    first, second = choose_node("other", GPU, free, held, there), choose_node("m", GPU, free, held, there)

    assert first is not None
    assert second is not None
    assert [("a", ()), ("b", ())] == [(each.node, each.evicted) for each in (first, second)]


def test_what_is_unloaded_makes_room_where_it_is_missing() -> None:
    """A replica of another node, or on a CPU, is of no use, however little it is worth; what is worth least leaves."""
    held = {
        "on cpu": HeldPlace("x", "a", CPU),
        "half": HeldPlace("x", "a", {"GPU": 0.5}),
        "dear": HeldPlace("x", "b", GPU),
        "cheap": HeldPlace("x", "c", GPU),
    }
    there = residents(Resident("on cpu", 0.0), Resident("half", 0.0), Resident("dear", 9.0), Resident("cheap", 2.0))
    place = choose_node("m", GPU, {"a": {"CPU": 1.0, "GPU": 0.0}, "b": {"CPU": 4.0}, "c": {}}, held, there)

    assert place is not None
    assert ("c", ("cheap",), 2.0) == (place.node, place.evicted, place.cost)


@pytest.mark.parametrize("fields", [{"idle": False}, {"pinned": True}])
def test_what_is_in_use_or_pinned_stays(fields: dict[str, bool]) -> None:
    """There is no place then; a replica of another server makes none, either."""
    held = {"one": HeldPlace("x", "a", GPU)}

    assert choose_node("m", GPU, {"a": {}}, held, residents(Resident("one", **fields))) is None  # type: ignore[arg-type]
    assert choose_node("m", GPU, {"a": {}}, held, {}) is None


def test_memory_counts_like_cpus() -> None:
    """The resource that a node lacks most decides; a model on a CPU leaves nodes with accelerators to others."""
    free = {
        "a": {"CPU": 9.0, "memory": 1e9},
        "b": {"CPU": 1.0, "memory": 5e9, "GPU": 1.0},
        "c": {"CPU": 1.0, "memory": 4e9},
    }
    held = {"large": HeldPlace("x", "a", {"CPU": 1.0, "memory": 8e9})}
    place = choose_node("m", CPU, free, held, residents(Resident("large")))
    full = choose_node("m", {"CPU": 1.0, "memory": 6e9}, free, held, residents(Resident("large")))

    assert place is not None
    assert full is not None
    assert [("c", ()), ("a", ("large",))] == [(each.node, each.evicted) for each in (place, full)]


def test_all_resources_must_suffice() -> None:
    """Nothing is unloaded on a node that lacks another resource then; what frees both leaves alone."""
    needed, left = {"CPU": 1.0, "memory": 10e9}, {"CPU": 0.0, "memory": 5e9}
    held = {"small": HeldPlace("x", "a", {"CPU": 1.0, "memory": 1e9})}
    assert choose_node("m", needed, {"a": left}, held, residents(Resident("small"))) is None
    held["more"] = HeldPlace("x", "a", {"CPU": 1.0, "memory": 4e9})
    both = choose_node("m", needed, {"a": left}, held, residents(Resident("small", 0.0), Resident("more")))
    held["large"] = HeldPlace("x", "a", {"CPU": 1.0, "memory": 6e9})
    there = residents(Resident("small", 0.0), Resident("more", 5.0), Resident("large"))
    one = choose_node("m", needed, {"a": left}, held, there)

    assert both is not None
    assert one is not None
    assert [{"small", "more"}, {"large"}] == [{*both.evicted}, {*one.evicted}]


def test_shares_of_several_accelerators_do_not_add_up() -> None:
    """A replica is on one of them: what it needs more is unloaded there, and on no other one."""
    held = {
        "first": HeldPlace("x", "a", {"GPU": 0.6}, "0"),
        "second": HeldPlace("x", "a", {"GPU": 0.4}, "1"),
        "third": HeldPlace("x", "a", {"GPU": 0.2}, "1"),
    }
    there = residents(Resident("first", 3.0), Resident("second", 2.0), Resident("third", 0.0))
    found = [
        choose_node("m", {"GPU": share}, {"a": {"GPU": 0.8}}, held, there, {"a": 2}) for share in (0.4, 0.5, 0.7, 1.0)
    ]

    assert [(), ("third",), ("second",), ("second", "third")] == [
        each and tuple(sorted(each.evicted)) for each in found
    ]


def test_what_others_hold_is_on_some_accelerator() -> None:
    """A share whose accelerator is not known, such as that of another server, leaves the others free."""
    cards = {"a": 3}
    found = [choose_node("m", {"GPU": 0.5}, {"a": {"GPU": left}}, {}, {}, cards) for left in (2.6, 1.2, 0.4)]

    assert [True, True, False] == [each is not None for each in found]


def test_a_node_that_refuses_unloads_something() -> None:
    """What seems to be free is not, such as where the parts of it are on several accelerators."""
    held = {"one": HeldPlace("x", "a", CPU), "two": HeldPlace("x", "a", CPU)}
    there, free = residents(Resident("one", 2.0), Resident("two", 1.0)), {"a": {"CPU": 3.0, "memory": 9e9}}
    found = [choose_node("m", CPU, free, held, there, refused=nodes) for nodes in ((), ("a",))]

    assert [(), ("two",)] == [each and each.evicted for each in found]
    assert choose_node("m", CPU, free, {}, {}, refused=("a",)) is None


def test_shares_of_an_accelerator_add_up() -> None:
    """As many replicas leave as the share needs."""
    held = {name: HeldPlace("x", "a", {"GPU": 0.3}) for name in ("one", "two", "three")}
    place = choose_node("m", {"GPU": 0.6}, {"a": {"GPU": 0.1}}, held, residents(*map(Resident, held)))

    assert place is not None
    assert 2 == len(place.evicted)


@pytest.mark.parametrize("count", [2, 8])
def test_whole_accelerators_that_others_hold(count: int) -> None:
    """They are those that nothing of this server is on, so that what is idle there still makes room."""
    held = {"idle": HeldPlace("x", "a", {"GPU": 0.5}, "0")}
    place = choose_node("m", GPU, {"a": {"GPU": 0.5}}, held, residents(Resident("idle")), {"a": count})

    assert place is not None
    assert ("idle",) == place.evicted


def test_a_model_that_is_split_takes_whole_accelerators_of_one_node() -> None:
    """Those of a node count together; what is idle on any of them makes room."""
    two, cards = {"GPU": 2.0}, {"a": 2, "b": 4}
    held = {"one": HeldPlace("x", "b", {"GPU": 1.0}, "0"), "two": HeldPlace("x", "b", {"GPU": 1.0}, "1")}
    there = residents(Resident("one"), Resident("two"))
    found = [
        choose_node("m", two, {"a": {"GPU": left}, "b": {"GPU": 2.0 - left}}, held, there, cards)
        for left in (2.0, 1.0, 0.0)
    ]

    assert [("a", 0), ("b", 1), ("b", 0)] == [each and (each.node, len(each.evicted)) for each in found]


def test_another_model_takes_the_place_of_one_that_is_split() -> None:
    """An accelerator that it leaves free, or all of its own, where it is idle."""
    held = {"split": HeldPlace("x", "a", {"GPU": 2.0}, "0"), "one": HeldPlace("x", "a", {"GPU": 0.5}, "2")}
    there = residents(Resident("split", 1.0), Resident("one", 9.0))
    found = [
        choose_node("m", {"GPU": share}, {"a": {"GPU": left}}, held, there, {"a": 3})
        for share, left in ((0.5, 0.5), (1.0, 0.5))
    ]

    assert [(), ("split",)] == [each and each.evicted for each in found]


def cluster_of(*cards: int, count: int = 1, there: Mapping[str, Any] | None = None) -> NodeIndex:
    """Return idle nodes, named by letters, whose accelerators have so many GiB; 0 is not declared."""
    index = NodeIndex((there or {}).get)
    for name, size in zip("abcdefgh", cards, strict=False):
        total = {"CPU": 8.0, "GPU": float(count), **({ACCELERATOR_BYTES: float(size * GIB)} if size else {})}
        index.update(name, NodeResources(total, total))
    return index


def requested(gib: float | None, **fields: Any) -> PlaceRequest:
    """Return the request of a replica that needs so many GiB of an accelerator."""
    need = ReplicaNeed(accelerators=fields.pop("accelerators", 1), needed=None if gib is None else round(gib * GIB))
    return PlaceRequest("new", "m", need, **fields)


@pytest.mark.parametrize(
    ("cards", "gib", "node", "share"),
    [
        ((24, 80), 50, "b", 0.625),  # The smaller one cannot hold it, though both are idle.
        ((80, 24), 50, "a", 0.625),
        ((24, 80), 6, "b", 0.075),  # The share is that of its node's accelerator, not of the smallest one.
        ((24, 16), 6, "a", 0.25),
        ((24, 40), 50, "b", 1.0),  # None holds it, and what is offloaded is least on the largest.
        ((24, 0), 50, "b", 1.0),  # What is not declared may be enough.
        ((24, 24), None, "a", 1.0),
    ],
)
def test_accelerators_differ_in_their_bytes(cards: tuple[int, ...], gib: float | None, node: str, share: float) -> None:
    """A replica is on one that holds it, of these on the one with the most room; else on the largest."""
    found = cluster_of(*cards).choose(requested(gib))

    assert found is not None
    assert (node, {"GPU": share}) == (found.node, found.resources)


def test_an_accelerator_that_is_too_small_is_no_reason_not_to_wait() -> None:
    """While the one that holds the model is in use, an idle smaller one is not taken for it."""
    there = residents(Resident("busy", idle=False))
    index = cluster_of(24, 80, there=there)
    index.put("busy", HeldPlace("x", "b", GPU, "0"))
    waiting = index.choose(requested(50))
    there["busy"].idle = True
    index.refresh(["busy"])
    found = index.choose(requested(50))

    assert waiting is None
    assert found is not None
    assert ("b", ("busy",)) == (found.node, found.evicted)


def test_a_split_model_is_where_each_part_fits() -> None:
    """Each of its processes has all weights, so that the accelerators of a node must be large enough as well as many."""
    index = cluster_of(24, 80, count=2)
    found = index.choose(requested(50, accelerators=2))

    assert found is not None
    assert ("b", {"GPU": 2.0}) == (found.node, found.resources)
    assert index.choose(requested(50, accelerators=3)) is None


@pytest.mark.parametrize(
    ("failed", "node"),
    [
        (FailedPlaces(), "a"),
        (FailedPlaces({"a"}), "b"),
        (FailedPlaces(too_small=24 * GIB), "c"),
        (FailedPlaces({"c"}, 24 * GIB), None),
    ],
)
def test_where_a_load_has_failed_it_is_not_repeated(failed: FailedPlaces, node: str | None) -> None:
    """Neither on that node, nor on accelerators that have no more memory."""
    index = cluster_of(24, 24, 24 if failed.nodes == {"a"} or not failed.too_small else 80)
    found = index.choose(requested(None, failed=failed))

    assert node == (found and found.node)


def test_a_node_that_is_drained_takes_nothing_new() -> None:
    """Whatever is free there, and though its accelerator alone is large enough; what is on it stays."""
    index = cluster_of(24, 80)
    total = index.resources("b").total
    index.update("b", NodeResources(total, total, draining=True))
    found, on_cpu = index.choose(requested(50)), index.choose(PlaceRequest("new", "m", ReplicaNeed(cpus=1.0)))

    assert found is not None
    assert on_cpu is not None
    assert ["a", "a"] == [found.node, on_cpu.node]
    assert ["a"] == list(index.suitable(requested(50)))
    index.update("a", None)
    assert index.choose(requested(50)) is None


def test_a_place_that_is_kept_is_not_for_two() -> None:
    """Neither what is free, nor what is leaving for it, whatever Ray reports meanwhile; the rest of the node is."""
    there = residents(Resident("one"), Resident("two"))
    index = cluster_of(0, count=2, there=there)
    for number, name in enumerate(there):
        index.put(name, HeldPlace("x", "a", GPU, str(number)))
    full = {**index.resources("a").total, "GPU": 0.0}
    index.update("a", NodeResources(index.resources("a").total, full))
    first = index.choose(requested(None))
    assert first is not None
    (left,) = first.evicted
    index.put(left, HeldPlace("x", "a", GPU, leaving=True))
    index.put("first", HeldPlace("m", "a", GPU, coming=True))
    there[left].yields_to = "first"
    second = index.choose(PlaceRequest("second", "n", requested(None).need))
    index.remove(left)
    index.update("a", NodeResources(index.resources("a").total, {**full, "GPU": 1.0}))
    after = index.choose(PlaceRequest("second", "n", requested(None).need))

    assert second is not None
    assert after is not None
    assert (*(there.keys() - {left}),) == second.evicted == after.evicted


def test_what_came_into_use_meanwhile_is_not_unloaded() -> None:
    """The index is read again where it is outdated, before anything is decided."""
    there = residents(Resident("one", 0.0), Resident("two", 5.0))
    index = cluster_of(0, 0, there=there)
    for name, node in (("one", "a"), ("two", "b")):
        index.put(name, HeldPlace("x", node, GPU, "0"))
    there["one"].idle = False
    found = index.choose(requested(None))

    assert found is not None
    assert ("two",) == found.evicted


def calls_of_a_decision(nodes: int) -> int:
    """Return how many functions a decision calls in a full cluster, of whose replicas few are idle."""
    there = {
        f"r{number}": Resident(f"r{number}", idle=number % 9 == 0, last_used=float(number)) for number in range(nodes)
    }
    index = NodeIndex(there.get)  # type: ignore[arg-type]
    for number, name in enumerate(there):
        size = float((24, 80)[number % 2] * GIB)
        total = {"CPU": 4.0, "memory": 9e9, "GPU": 1.0, ACCELERATOR_BYTES: size}
        index.put(name, HeldPlace(f"m{number % 7}", f"n{number}", GPU, "0"))
        index.update(f"n{number}", NodeResources(total, {**total, "GPU": 0.0}))
    counted = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    requests = [requested(50), requested(5), PlaceRequest("new", "m", ReplicaNeed(cpus=1.0, memory=1e9))]
    requests = [*requests, PlaceRequest("new", "m", ReplicaNeed(accelerators=2))]
    for each in requests:
        index.choose(each)  # The first one removes what is outdated since the index was made.
    sys.setprofile(count)
    try:
        found = [index.choose(each) for each in requests]
    finally:
        sys.setprofile(None)
    assert [True, True, True, False] == [each is not None for each in found]
    return counted


def test_a_decision_does_not_look_at_all_nodes() -> None:
    """With 32 times as many nodes, it does hardly more."""
    small, large = calls_of_a_decision(64), calls_of_a_decision(2048)

    assert large < 1.5 * small
    assert large < 2048
