"""Devices by the bytes that they can offer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from octabox.engine.cluster.capacity import CapacityIndex

sizes = st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 2**40), st.integers(0, 9)), min_size=1)


@given(sizes, sizes, st.integers(0, 2**41))
def test_all_devices_with_enough_bytes_are_found(
    before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]], size: int
) -> None:
    """After a change of sizes and ranks, a query returns those that suffice, and no others."""
    index = CapacityIndex()
    for name, (offered, rank) in [*before.items(), *after.items()]:
        index.set(name, offered, rank)
    index.discard("h")
    offers = {name: offered for name, (offered, _) in {**before, **after}.items() if name != "h"}

    assert {name for name, offered in offers.items() if offered >= size} == set(index.firsts(size, len(offers) + 1))
