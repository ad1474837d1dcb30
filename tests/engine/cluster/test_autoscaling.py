"""How many replicas a model has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octabox.engine.cluster.autoscaling import (
    ModelLoad,
    ScalingLimits,
    autoscale,
    choose_drained,
    replicas_needed,
)
from octabox.engine.cluster.state import ModelCosts, Replica

COSTS = ModelCosts(load_seconds=18, run_seconds=2)
LIMITS = ScalingLimits(max_replicas=8, hold=60, keep_alive=600)


@pytest.mark.parametrize(
    ("waiting", "load_seconds", "replicas"),
    [(0, 18, 0), (1, 18, 1), (10, 18, 1), (11, 18, 2), (100, 18, 10), (8, 0, 4), (8, 2, 4), (8, 30, 1)],
)
def test_the_queue_needs_replicas_where_it_takes_longer_than_a_load(
    waiting: int, load_seconds: float, replicas: int
) -> None:
    """A queue that is finished before a new replica is loaded needs none."""
    assert replicas == replicas_needed(waiting, ModelCosts(load_seconds, 2), target_wait=2)


def test_a_rate_needs_its_mean_and_a_reserve() -> None:
    """Four concurrent requests at the mean need six replicas."""
    assert 6 == replicas_needed(0, replace(COSTS, rate=2), target_wait=2)


@pytest.mark.parametrize(
    ("replicas", "waiting", "last_used", "expected"),
    [
        (0, 0, 0, 0),
        (0, 1, 100, 1),
        (1, 0, 100, 1),
        (1, 0, -500, 0),  # Not used for its keep_alive.
        (1, 50, 100, 5),
        (1, 1000, 100, 8),
    ],
)
def test_a_model_is_scaled_from_zero_and_back(replicas: int, waiting: int, last_used: float, expected: int) -> None:
    """A request loads the first replica, the queue others within the limit, and `keep_alive` unloads the last one."""
    assert expected == autoscale(ModelLoad(replicas, waiting, COSTS, last_used), LIMITS, 100).replicas


def test_fewer_replicas_are_kept_only_after_a_while() -> None:
    """One at a time is unloaded, each after fewer have sufficed for `hold`; a queue in between starts the time again."""
    load = ModelLoad(4, 0, COSTS, last_used=100)
    first = autoscale(load, LIMITS, 100)
    held = autoscale(replace(load, fewer_since=first.fewer_since), LIMITS, 159)
    fewer = autoscale(replace(load, fewer_since=held.fewer_since), LIMITS, 160)
    again = autoscale(replace(load, waiting=60, fewer_since=held.fewer_since), LIMITS, 160)

    assert [4, 4, 3] == [first.replicas, held.replicas, fewer.replicas]
    assert (6, None) == (again.replicas, again.fewer_since)


@given(st.integers(0, 9), st.integers(0, 200), st.floats(0, 9), st.floats(0, 900), st.integers(0, 3))
def test_a_number_is_within_the_limits(replicas: int, waiting: int, rate: float, now: float, lowest: int) -> None:
    """There are never more than allowed or fewer than required, and what waits is never left without a replica."""
    limits = replace(LIMITS, min_replicas=lowest)
    scaling = autoscale(ModelLoad(replicas, waiting, replace(COSTS, rate=rate), 0), limits, now)

    assert min(lowest, replicas) <= scaling.replicas <= max(limits.max_replicas, replicas)
    assert scaling.replicas >= replicas - 1
    assert scaling.replicas or not waiting


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
