"""Which model makes room for another one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from octabox.engine.cluster.eviction import plan_eviction
from octabox.engine.cluster.state import Replica
from octabox.engine.local.resident.room import select_evicted


@dataclass
class Held:
    """A model in memory."""

    name: str
    keep_value: float
    size: int = 1
    last_used: float = 0.0
    idle: bool = True
    pinned: bool = False
    memory: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold the bytes on a device."""
        self.memory = {"cuda:0": self.size}


held: Any = st.lists(
    st.builds(
        Held,
        st.uuids().map(str),
        st.floats(0, 100),
        st.integers(1, 50),
        st.floats(0, 1000),
        st.booleans(),
        st.booleans(),
    ),
    max_size=8,
)


@given(held, st.integers(1, 120))
def test_a_machine_unloads_what_a_cluster_would(models: list[Any], needed: int) -> None:
    """The first model that leaves a device is the first one of the plan of a cluster, for the same values and bytes."""
    replicas = [
        Replica(each.name, each.name, "cuda:0", each.size, each.last_used, int(not each.idle), pinned=each.pinned)
        for each in models
    ]
    values = {each.name: each.keep_value for each in models}
    plan = plan_eviction(replicas, needed, lambda each: values[each.name])
    evicted = select_evicted(models, "cuda:0", needed)

    if plan:
        assert evicted is not None
        assert plan[0].name == evicted.name
    else:  # Not all of them together suffice: what can be freed is.
        assert (evicted is None) == all(each.pinned or not each.idle for each in models)


def test_bytes_count_only_where_bytes_are_missing() -> None:
    """Where a number of models is the limit, the one with the lowest value leaves, whatever it holds."""
    models: Any = [Held("small", 1.0, 10), Held("large", 2.0, 40)]
    by_bytes, by_number = select_evicted(models, "cuda:0", 5), select_evicted(models)

    assert by_bytes is models[1]
    assert by_number is models[0]


def test_of_equal_value_the_one_that_was_used_first_leaves() -> None:
    """Such as of models whose load takes no time."""
    models: Any = [Held("a", 0.0, last_used=20), Held("b", 0.0, last_used=10)]

    found = select_evicted(models)
    assert found is models[1]
