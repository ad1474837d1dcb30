"""Which replicas are unloaded for another one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octabox.engine.cluster.eviction import chance_of_need, keep_value, plan_eviction
from octabox.engine.cluster.state import ModelCosts, Replica

replicas = st.lists(
    st.builds(
        Replica,
        st.uuids().map(str),
        st.just("m"),
        st.just("d"),
        st.integers(1, 50),
        waiting=st.integers(0, 1),
        loading=st.booleans(),
        pinned=st.booleans(),
    ),
    max_size=8,
)


@given(replicas, st.integers(-5, 150))
def test_a_plan_frees_enough_and_nothing_in_vain(on_device: list[Replica], needed: int) -> None:
    """It frees the bytes without what is in use, loading or pinned; without any of its replicas it would not suffice."""
    plan = plan_eviction(on_device, needed, lambda each: float(each.size % 7))
    possible = sum(each.size for each in on_device if each.evictable)

    assert (plan is None) == (needed > 0 and possible < needed)
    if plan is not None:
        freed = sum(each.size for each in plan)
        assert all(each.evictable for each in plan)
        assert freed >= needed
        assert all(freed - each.size < needed for each in plan)


@given(replicas, st.lists(st.integers(0, 3), min_size=8, max_size=8), st.integers(-5, 150), st.integers(1, 9))
def test_a_plan_frees_enough_cpus_as_well(held: list[Replica], cpus: list[int], needed: int, processors: int) -> None:
    """Where they are counted, it frees both, and none of its replicas in vain."""
    on_device = [replace(each, processors=count) for each, count in zip(held, cpus, strict=False)]
    plan = plan_eviction(on_device, needed, lambda each: float(each.size % 7), processors)
    may_leave = [each for each in on_device if each.evictable]
    lacking = sum(each.size for each in may_leave) < needed or sum(each.processors for each in may_leave) < processors

    assert (plan is None) == lacking
    if plan is not None:
        assert sum(each.size for each in plan) >= needed
        assert sum(each.processors for each in plan) >= processors
        for left in plan:
            rest = [each for each in plan if each is not left]
            assert sum(each.size for each in rest) < needed or sum(each.processors for each in rest) < processors


def test_what_costs_least_for_each_byte_is_unloaded_first() -> None:
    """A small value on many bytes leaves before a smaller one on few."""
    large, small = Replica("large", "m", "d", 40), Replica("small", "m", "d", 10)
    plan = plan_eviction([small, large], 10, lambda each: 2.0 if each.name == "large" else 1.0)

    assert plan is not None
    assert ["large"] == [each.name for each in plan]


@given(st.floats(0, 5), st.floats(0.1, 200), st.integers(1, 60))
def test_chances_fall_with_the_number_of_replicas(rate: float, run_seconds: float, count: int) -> None:
    """A chance is between 0 and 1; one more replica is needed at most as often, and a higher rate needs it more often."""
    costs = ModelCosts(10, run_seconds, rate=rate)
    chance = chance_of_need(costs, count)

    assert 0 <= chance <= 1
    assert chance_of_need(costs, count + 1) <= chance + 0.02  # Two formulas meet, of which one is approximate.
    assert chance_of_need(ModelCosts(10, run_seconds, rate=2 * rate), count) >= chance - 1e-9


def test_the_last_replica_of_a_model_is_worth_most() -> None:
    """It is worth about its load, where a request is likely to arrive; of a model that nobody requests, nothing."""
    costs = ModelCosts(load_seconds=30, run_seconds=2, rate=0.01)

    assert keep_value(costs, 1) > 29
    assert keep_value(costs, 3) < 1
    assert 0 == keep_value(ModelCosts(load_seconds=30), 1)
    assert keep_value(ModelCosts(60, 2, rate=0.01), 1) == pytest.approx(2 * keep_value(costs, 1))
