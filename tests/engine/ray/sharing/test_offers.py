"""Which idle replicas of several servers make room for a replica."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.engine.ray.sharing.offers import Offer, PlaceCall, choose_offers, has_priority

GPU = {"GPU": 1.0}


def offer(name: str, value: float = 1.0, node: str = "n", **fields: Any) -> Offer:
    """Return an offer of the server that its name begins with."""
    return Offer(**{"server": name[0], "name": name, "node": node, "resources": GPU, "value": value, **fields})


def names(*arguments: Any) -> list[str]:
    """Return the names of what is chosen, in order."""
    return sorted(each.name for each in choose_offers(*arguments))


def test_what_costs_least_leaves() -> None:
    """Of all nodes and servers; of equal ones the one that was used first."""
    offers = [offer("a1", 5), offer("b1", 2, "m", last_used=9), offer("c1", 2, "k", last_used=3)]

    assert ["c1"] == names(GPU, {"n": {}, "m": {}, "k": {}}, {}, offers)
    assert ["b1"] == names(GPU, {"n": {}, "m": {}}, {}, offers)


@pytest.mark.parametrize(
    ("free", "offers"),
    [
        ({"n": {"GPU": 1.0}}, [offer("a1")]),
        ({"n": {}}, []),
        ({"m": {}}, [offer("a1")]),
        ({"n": {"GPU": 0.4}}, [offer("a1", resources={"GPU": 0.5})]),
        ({"n": {}}, [offer("a1", resources={"CPU": 1.0})]),
    ],
)
def test_nobody_is_called_in_vain(free: Any, offers: list[Offer]) -> None:
    """Neither where there is a place, nor where none can be, such as on a node that is lost."""
    assert [] == names(GPU, free, {"n": 1}, offers)


def test_what_is_free_elsewhere_is_no_place() -> None:
    """It may be in parts of several accelerators, or of one that is too small, where the caller has looked already."""
    assert ["b1"] == names(GPU, {"n": {"GPU": 1.0}, "m": {}}, {"n": 2, "m": 1}, [offer("b1", node="m")])
    assert ["b1"] == names({"GPU": 0.5}, {"n": {"GPU": 1.0}, "m": {}}, {"n": 1, "m": 1}, [offer("b1", node="m")])


def test_several_leave_for_one_and_none_in_addition() -> None:
    """What is free counts; of those that suffice together, the superfluous one that is worth most stays."""
    offers = [offer("a1", 1, resources={"GPU": 0.2}), offer("b1", 4, resources={"GPU": 0.5}), offer("c1", 9)]

    assert ["a1", "b1"] == names(GPU, {"n": {"GPU": 0.3}}, {"n": 1}, offers)
    assert ["b1"] == names(GPU, {"n": {"GPU": 0.5}}, {"n": 1}, offers)


def test_shares_of_several_accelerators_do_not_add_up() -> None:
    """Only those on the same one; where it is not known, each is alone."""
    halves = [
        offer("a1", 1, resources={"GPU": 0.5}, card="0"),
        offer("a2", 1, resources={"GPU": 0.5}, card="1"),
        offer("b1", 8, resources={"GPU": 0.5}, card="1"),
        offer("b2", 1, resources={"GPU": 0.5}),
    ]

    assert ["a2", "b1"] == names(GPU, {"n": {"GPU": 0.5}}, {"n": 2}, halves)
    assert [] == names(GPU, {"n": {"GPU": 0.5}}, {"n": 2}, [halves[0], halves[1], halves[3]])
    assert ["b1"] == names(GPU, {"n": {}}, {"n": 2}, [offer("a1", 3), offer("b1", 2)])


def test_several_whole_accelerators_of_one_node() -> None:
    """Parts of them are of no use, and nor are those of other nodes."""
    two = {"GPU": 2.0}
    whole = [offer("a1"), offer("b1", 3), offer("c1", 1, "m")]

    assert ["a1", "b1"] == names(two, {"n": {}, "m": {}}, {"n": 2, "m": 2}, whole)
    assert ["a1"] == names(two, {"n": {"GPU": 1.4}}, {"n": 3}, [*whole[:2], offer("d1", 0, resources={"GPU": 0.6})])


def test_all_resources_have_to_suffice() -> None:
    """A replica on a CPU needs the memory of its weights, too."""
    needed = {"CPU": 1.0, "memory": 8.0}
    offers = [offer("a1", 1, resources={"CPU": 1.0, "memory": 2.0}), offer("b1", 5, resources=needed)]

    assert ["b1"] == names(needed, {"n": {"CPU": 3.0, "memory": 1.0}}, {}, offers)


def test_who_waits_longest_is_first() -> None:
    """A server that waits itself for the same kind of place gives none to those that came later, so that not all wait."""
    call = PlaceCall("1", "a", ("x",), "demo", GPU, since=10.0)

    assert has_priority(call, [])
    assert has_priority(call, [(GPU, 11.0), ({"CPU": 1.0}, 1.0)])
    assert not has_priority(call, [(GPU, 9.0)])
