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


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 99), st.integers(0, 20))), st.integers(0, 99)
)
def test_bytes_and_cpus_must_both_suffice(offered: dict[str, tuple[int, int]], size: int) -> None:
    """A device with much of one and none of the other is no candidate."""
    index = CapacityIndex()
    for name, (there, cpus) in offered.items():
        index.set(name, there, 0, cpus)

    for needed in (0, 1, 3):
        expected = {name for name, (there, cpus) in offered.items() if there >= size and cpus >= needed}
        assert expected == set(index.firsts(size, 9, processors=needed))
