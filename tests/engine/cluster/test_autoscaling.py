"""When a model gets another replica."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octabox.engine.cluster.autoscaling import (
    MIN_LOAD_SECONDS,
    SPARE_SHARE,
    ModelLoad,
    ScalingLimits,
    choose_drained,
    expected_wait,
    value_of_another,
)
from octabox.engine.cluster.eviction import keep_value
from octabox.engine.cluster.state import ModelCosts, Replica

COSTS = ModelCosts(load_seconds=18, run_seconds=2)
LIMITS = ScalingLimits(max_replicas=8)


def value(
    replicas: int, waiting: int, ready: Sequence[float] = (), limits: ScalingLimits = LIMITS, **fields: float
) -> float | None:
    """Return what one more replica is worth."""
    costs = replace(COSTS, **{name: fields.pop(name) for name in ("rate", "load_seconds") if name in fields})
    load = ModelLoad(replicas, waiting, costs, ready, **fields)  # type: ignore[arg-type]
    return value_of_another(load, limits)


@pytest.mark.parametrize(
    ("ready", "waiting", "wait"),
    [((), 1, 0), ((5,), 0, 0), ((5,), 1, 5), ((5,), 3, 9), ((5, 6), 3, 7), ((0, 0), 2, 0), ((1, 30), 4, 7)],
)
def test_the_wait_is_that_of_the_last_request(ready: tuple[float, ...], waiting: int, wait: float) -> None:
    """Each replica takes the next one as soon as it is free."""
    assert wait == expected_wait(ModelLoad(len(ready), waiting, COSTS, ready))


def test_a_part_of_many_stands_for_all() -> None:
    """Where only the first replicas are known, and where many requests wait, the wait is about the same."""
    known = expected_wait(ModelLoad(40, 40, COSTS, [2.0] * 16))
    many = expected_wait(ModelLoad(4, 400, COSTS, [2.0] * 4))

    assert known == pytest.approx(2.0)
    assert many == pytest.approx(200, rel=0.05)


def test_the_first_replica_is_worth_anything() -> None:
    """For a request; without one it is worth nothing, whatever the rate is."""
    assert math.inf == value(0, 1)
    assert value(0, 0, rate=1) is None


def test_another_replica_is_worth_what_it_shortens_the_wait_by() -> None:
    """The wait of the last request, less the load; one that is over before that is worth no more than a spare one."""
    assert 28 - 18 == value(1, 12, [6])
    assert 0 == value(1, 4, [6])
    assert 28 - MIN_LOAD_SECONDS == value(1, 12, [6], load_seconds=0)


def test_a_wait_as_long_as_a_load_counts_whatever_is_expected() -> None:
    """As for a request that takes far longer than others; where a replica is being loaded, that one will take it."""
    assert 12 == value(1, 1, [1], oldest=30)
    assert 0 == value(2, 1, [1, 18], oldest=30, loading=True)


def test_a_spare_replica_is_worth_a_share_of_keeping_it() -> None:
    """Where a request waits, and others come often; where none waits, those that are there are enough."""
    costs = replace(COSTS, rate=0.3)
    spare = value(1, 1, [1], rate=0.3)

    assert SPARE_SHARE * keep_value(costs, 2) == spare
    assert value_of_another(ModelLoad(2, 0, COSTS), LIMITS) is None


def test_a_rate_needs_its_mean_and_a_reserve() -> None:
    """Four concurrent requests at the mean need six replicas."""
    costs = replace(COSTS, rate=2)

    assert [True, False] == [value_of_another(ModelLoad(n, 0, costs), LIMITS) is not None for n in (5, 6)]


@pytest.mark.parametrize(
    ("limits", "replicas", "worth"),
    [((0, 2), 1, True), ((0, 2), 2, False), ((3, 3), 2, True), ((3, 3), 3, False), ((3, 1), 2, True)],
)
def test_a_number_is_within_the_limits(limits: tuple[int, int], replicas: int, worth: bool) -> None:
    """A configured number is reached without a queue; more than allowed are never loaded."""
    waiting = 0 if limits[0] else 100
    found = value(replicas, waiting, [1.0] * replicas, ScalingLimits(*limits))

    assert worth == (found is not None)
    assert found in (None, 0.0) or not limits[0]


@given(
    st.integers(0, 9), st.integers(0, 200), st.floats(0, 9), st.lists(st.floats(0, 99), max_size=9), st.floats(0, 99)
)
def test_more_requests_never_make_a_replica_worth_less(
    replicas: int, waiting: int, rate: float, ready: list[float], oldest: float
) -> None:
    """Nothing is worth less than nothing, and what waits is never left without a replica."""
    ready = ready[:replicas]
    fewer, more = (value(replicas, count, ready, rate=rate, oldest=oldest) for count in (waiting, waiting + 1))

    assert fewer is None or fewer >= 0
    assert more is None or more >= (fewer or 0)
    assert replicas or more == math.inf


def test_replicas_without_work_drain_first() -> None:
    """One that drains already counts; then those with the fewest requests; pinned ones never."""
    replicas = [
        Replica("a", "m", "d0", waiting=2),
        Replica("b", "m", "d1", waiting=1),
        Replica("c", "m", "d2", waiting=9, draining=True),
        Replica("d", "m", "d3", pinned=True),
    ]

    assert ["c", "b"] == [each.name for each in choose_drained(replicas, 2)]
    assert ["c", "b", "a"] == [each.name for each in choose_drained(replicas, 9)]
