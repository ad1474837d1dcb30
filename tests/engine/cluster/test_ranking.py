"""Keys in the order of a rank that changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from octabox.engine.cluster.ranking import SLACK, Ranking

changes = st.lists(st.tuples(st.sampled_from("abcdef"), st.one_of(st.none(), st.integers(0, 5))), max_size=80)


@given(changes, st.integers(0, 7))
def test_the_first_keys_are_those_of_a_sorted_list(changed: list[tuple[str, int | None]], count: int) -> None:
    """After any changes, the first keys are those with the lowest ranks, equal ones in the order of the keys."""
    ranking, ranks = Ranking(), dict[str, int]()
    for key, rank in changed:
        if rank is None:
            ranking.discard(key)
            ranks.pop(key, None)
        else:
            ranking.set(key, rank)
            ranks[key] = rank
    expected = sorted(ranks, key=lambda key: (ranks[key], key))

    assert len(ranks) == len(ranking)
    assert expected[:count] == ranking.firsts(count)
    assert (expected[0] if expected else None) == ranking.first()
    assert [each for each in expected if each in "ace"][:2] == ranking.firsts(2, lambda key: key in "ace", skip=9)


def test_outdated_entries_do_not_add_up() -> None:
    """A key whose rank changes a thousand times takes the space of a few."""
    ranking = Ranking()
    for rank in range(1000):
        ranking.set("a", float(-rank))

    assert len(ranking._heap) <= 2 + SLACK + 1
    assert "a" == ranking.first()
