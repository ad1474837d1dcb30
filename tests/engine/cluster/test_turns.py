"""When a model in use gives its place to another one."""

from __future__ import annotations

import math

import pytest

from octabox.engine.cluster.state import Replica
from octabox.engine.cluster.turns import (
    MAX_PASSED_SECONDS,
    MAX_TURN,
    TURN_LOADS,
    Claim,
    Turn,
    plan_yields,
    seconds_until_yield,
)

NOW = 10_000.0


@pytest.mark.parametrize(
    ("following", "seconds"),
    [
        (Claim(NOW - 5), 0.0),
        (None, 0.0),
        (Claim(NOW - 20), MAX_PASSED_SECONDS - 10),
        (Claim(NOW - 5, priority=1), math.inf),
        (Claim(NOW - 20, priority=-1), 0.0),
    ],
)
def test_earlier_requests_and_those_of_a_higher_priority_are_first(following: Claim | None, seconds: float) -> None:
    """A request that has waited for ten seconds passes later ones, and after some minutes earlier ones as well."""
    assert seconds == seconds_until_yield(Turn(0.0, 30.0, following), Claim(NOW - 10), NOW)


@pytest.mark.parametrize(("load_seconds", "turn"), [(20.0, TURN_LOADS * 20), (1200.0, MAX_TURN)])
def test_a_model_keeps_its_place_for_longer_than_its_load_took(load_seconds: float, turn: float) -> None:
    """Models that take turns spend most of the time with requests; a download does not make a turn endless."""
    found = seconds_until_yield(Turn(NOW - 10, load_seconds, Claim(NOW)), Claim(NOW - 9), NOW)

    assert turn - 10 == found
    assert turn >= load_seconds or turn == MAX_TURN


def test_two_models_in_constant_use_take_turns() -> None:
    """Each waits for a turn of the other one; loads take a quarter of the time, and no request waits for long."""
    load, run, now, arrived = 30.0, 4.0, 0.0, 0.0
    began, loads, waited = 0.0, 0, 0.0
    while loads < 20:
        now += run  # Whatever runs, its next request has just arrived.
        if seconds_until_yield(Turn(began, load, Claim(now)), Claim(arrived), now) <= 0:
            waited, loads = max(waited, now - arrived), loads + 1
            arrived, began = now, now + load
            now = began

    assert loads * load / now < 1 / TURN_LOADS
    assert waited <= (1 + TURN_LOADS) * load + run


def test_only_models_whose_turn_is_over_make_room() -> None:
    """Those that are being loaded, are pinned or keep their places do not, and neither does any if all are not enough."""
    replicas = [
        Replica("dear", "a", "d", 10, waiting=2),
        Replica("cheap", "b", "d", 10, waiting=1),
        Replica("new", "c", "d", 10, waiting=1),
        Replica("pinned", "e", "d", 10, pinned=True),
        Replica("loading", "f", "d", 10, loading=True),
    ]
    seconds = {"dear": 0.0, "cheap": 0.0, "new": 5.0, "pinned": 0.0, "loading": 0.0}

    def plan(needed: int) -> list[str] | None:
        found = plan_yields(replicas, needed, lambda each: float(each.name == "dear"), seconds)
        return None if found is None else [each.name for each in found]

    assert [["cheap"], ["cheap", "dear"], None] == [plan(needed) for needed in (10, 11, 21)]
