"""What calls need, learned from those that were measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from octabox.catalog import cache
from octabox.engine.memory import learned
from octabox.engine.memory.learned import LearnedMemory, read_learned, write_learned


def test_two_measured_sizes_predict_the_others() -> None:
    """A line through both, with a margin of a fifth; a size in between does not change it."""
    known = LearnedMemory().with_call(100, 1000).with_call(300, 2000).with_call(200, 900)

    assert [round(1.2 * each) for each in (1000, 1500, 2000, 3000)] == [
        known.working_bytes(size) for size in (100, 200, 300, 500)
    ]


def test_one_measured_size_is_a_bound_for_smaller_ones() -> None:
    """A larger call needs proportionally more; without a measured call nothing is known."""
    known = LearnedMemory().with_call(100, 1000)

    assert LearnedMemory().working_bytes(100) is None
    assert [1200, 1200, 2400] == [known.working_bytes(size) for size in (10, 100, 200)]


def test_what_a_call_uses_at_least_has_no_margin() -> None:
    """A call of the same size has used just that, and one between two measured ones no more than the larger."""
    known = LearnedMemory().with_call(100, 1000).with_call(200, 1100).with_call(300, 3000)

    assert 0 == LearnedMemory().least_bytes(100)
    assert [100, 1000, 1100, 3000, 4000] == [known.least_bytes(size) for size in (10, 100, 200, 300, 400)]


def test_a_larger_call_that_used_less_predicts_no_less() -> None:
    """Measured noise is not taken for a call that gives memory back."""
    known = LearnedMemory().with_call(100, 1000).with_call(200, 500)

    assert 1200 == known.working_bytes(400)


def test_the_number_of_sizes_is_limited() -> None:
    """The smallest and the largest stay."""
    known = LearnedMemory()
    for size in range(100):
        known = known.with_call(size, size)

    assert learned.MAX_POINTS == len(known.working)
    assert (0, 99) == (min(known.working), max(known.working))


def test_what_was_learned_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged file is as none; so is one that cannot be written."""
    monkeypatch.setattr(learned, "cache_folder", lambda: tmp_path)
    assert cache.cache_folder() is not None
    known = LearnedMemory().with_weights("full", {"host": 5, "device": 7}).with_call(100, 1000)
    write_learned("key", known)
    assert known == read_learned("key")

    (tmp_path / "memory" / "key.json").write_text("[]")
    assert LearnedMemory() == read_learned("key")
    monkeypatch.setattr(learned, "cache_folder", lambda: tmp_path / "memory" / "key.json")
    write_learned("key", known)
    assert LearnedMemory() == read_learned("key")
