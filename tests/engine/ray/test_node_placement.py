"""On which node a replica is placed, and what is unloaded there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from octabox.engine.ray.node_placement import HeldPlace, PlaceRequest, choose_node


@dataclass
class Resident:
    """A replica in memory."""

    name: str
    keep_value: float = 1.0
    idle: bool = True
    pinned: bool = False
    last_used: float = 0.0
    memory: dict[str, int] = field(default_factory=dict)


def residents(*found: Resident) -> dict[str, Any]:
    """Return replicas by their names."""
    return {each.name: each for each in found}


GPU, CPU = {"GPU": 1.0}, {"CPU": 1.0, "memory": 4e9}


def test_a_free_place_needs_no_unload() -> None:
    """It is on a node without a replica of the model, then on that with the most room."""
    free = {"a": {"GPU": 4.0}, "b": {"GPU": 2.0}, "c": {"GPU": 1.0}}
    held = {"m": HeldPlace("m", "a", GPU)}
    there = residents(Resident("m"))
    first, second = choose_node("other", GPU, free, held, there), choose_node("m", GPU, free, held, there)

    assert first is not None
    assert second is not None
    assert [("a", ()), ("b", ())] == [(each.device, each.evicted) for each in (first, second)]


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
    assert ("c", ("cheap",), 2.0) == (place.device, place.evicted, place.cost)


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
    assert [("c", ()), ("a", ("large",))] == [(each.device, each.evicted) for each in (place, full)]


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

    assert [("a", 0), ("b", 1), ("b", 0)] == [each and (each.device, len(each.evicted)) for each in found]


def test_another_model_takes_the_place_of_one_that_is_split() -> None:
    """An accelerator that it leaves free, or all of its own, where it is idle."""
    held = {"split": HeldPlace("x", "a", {"GPU": 2.0}, "0"), "one": HeldPlace("x", "a", {"GPU": 0.5}, "2")}
    there = residents(Resident("split", 1.0), Resident("one", 9.0))
    found = [
        choose_node("m", {"GPU": share}, {"a": {"GPU": left}}, held, there, {"a": 3})
        for share, left in ((0.5, 0.5), (1.0, 0.5))
    ]

    assert [(), ("split",)] == [each and each.evicted for each in found]


def test_a_node_refuses_until_something_else_is_free_there() -> None:
    """Other resources, and nodes that are lost, do not matter."""
    request = PlaceRequest("new", "m", CPU, {"a": {"CPU": 1.0, "memory": 4e9, "store": 9.0}, "b": {"CPU": 1.0}})
    seen = {"a": {"CPU": 1.0, "memory": 4e9, "store": 1.0}}
    changed = {"a": {"CPU": 2.0, "memory": 4e9}, "b": {"CPU": 1.0}}

    assert [["a"], ["b"]] == [request.still_refused(free) for free in (seen, changed)]
