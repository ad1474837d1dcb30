"""How many runs share a call is learned by times and memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from octabox.engine.batches.keys import MAX_MEMBERS, MAX_SIZES
from octabox.engine.worker.batches.limits import COMPARE_INTERVAL, MAX_KEYS, TRIALS, BatchLimits, Sample

KEY = "class 128x128"

#: What calls have in common, such as their steps.
COMMON = "20 steps"


def learn(
    limits: BatchLimits, seconds: Callable[[int], float], calls: int = 60, waiting: int = MAX_MEMBERS
) -> list[int]:
    """Run calls with as many members as are allowed and wait; return the numbers."""
    sizes = []
    for _ in range(calls):
        members = min(limits.limit(KEY, COMMON), waiting)
        limits.add(KEY, COMMON, members, Sample(seconds(members)))
        sizes.append(members)
    return sizes


def test_batches_double_as_long_as_they_are_faster() -> None:
    """Times are compared alternately; the size before the first one that is not faster is kept."""
    limits = BatchLimits()
    sizes = learn(limits, lambda n: n if n <= 4 else 2 * n) and learn(BatchLimits(), lambda n: 1 + n / 8)

    assert 1 == BatchLimits().limit(KEY, COMMON)
    assert [1, 2] * TRIALS == sizes[: 2 * TRIALS]
    assert MAX_MEMBERS == sizes[-1]
    assert 1 == learn(limits, lambda n: n)[-1]
    assert 4 == learn(BatchLimits(), lambda n: 1 + n / 8 if n <= 4 else n)[-1]


def test_a_batch_that_is_slower_is_tried_three_times() -> None:
    """Then single runs are kept, until they are compared again."""
    limits = BatchLimits()
    sizes = learn(limits, lambda n: 1.08 * n if n > 1 else 1.0, calls=COMPARE_INTERVAL)

    assert TRIALS == sum(size > 1 for size in sizes)
    assert 2 in learn(limits, lambda n: n, calls=20)


@pytest.mark.parametrize("waiting", [3, 7])
def test_smaller_batches_count_for_their_size(waiting: int) -> None:
    """Where less waits than is allowed, the next power of two is what was measured."""
    limits = BatchLimits()
    learn(limits, lambda n: 1 + n / 8, waiting=waiting)

    assert waiting < limits.limit(KEY, COMMON) <= 2 * waiting + 2


def test_a_failure_halves_the_limit_for_good() -> None:
    """A batch of eight that failed allows four."""
    limits = BatchLimits()
    learn(limits, lambda n: 1 + n / 8)
    limits.halve(KEY, 8)

    assert 4 == limits.limit(KEY, COMMON)
    assert 4 == max(learn(limits, lambda n: 1 + n / 8, calls=2 * COMPARE_INTERVAL))
    limits.halve(KEY, 2)
    assert {KEY: 1} == limits.by_size


def test_memory_limits_batches() -> None:
    """The peak of a larger batch is predicted by a line through those that were measured, with a margin."""

    def largest(available: int) -> int:
        limits = BatchLimits()
        for _ in range(60):
            members = limits.limit(KEY, COMMON)
            limits.add(KEY, COMMON, members, Sample(1 + members / 8, peak=50 + 100 * members, available=available))
        return limits.limit(KEY, COMMON)

    # 1.2 * (50 + 100 n) bytes.
    assert [1, 2, 4, 8] == [largest(available) for available in (200, 539, 600, 1100)]


def test_memory_limits_batches_that_are_made_anyway() -> None:
    """As far as the memory of the size is known, and so much as is free now."""
    limits = BatchLimits()
    assert 8 == limits.members_in_memory(KEY, 1, 8)
    limits.add(KEY, COMMON, 1, Sample(1.0, peak=100, available=10_000))
    limits.add(KEY, COMMON, 2, Sample(1.0, peak=200, available=10_000))

    # 1.2 * 100 n bytes.
    assert [8, 4, 1, 1] == [limits.members_in_memory(KEY, free, 8) for free in (10_000, 500, 239, 0)]
    assert 8 == limits.members_in_memory(KEY, None, 8)


def test_ceilings_of_an_earlier_process_are_kept() -> None:
    """A size that ended it is not tried again."""
    limits = BatchLimits({KEY: 2, "other": 1})

    assert {KEY: 2, "other": 1} == limits.ceilings
    assert 2 == max(learn(limits, lambda n: 1 + n / 8, calls=2 * COMPARE_INTERVAL))


def test_only_calls_that_differ_in_their_texts_are_compared() -> None:
    """The times of single runs of many steps say nothing about batches of few, nor those with guidance about others."""
    limits = BatchLimits()
    for _ in range(TRIALS):
        limits.add(KEY, "50 steps", 1, Sample(6.0))
        limits.add(KEY, "4 steps", 2, Sample(1.96))
    assert (2, 1) == (limits.limit(KEY, "50 steps"), limits.limit(KEY, "4 steps"))
    for _ in range(TRIALS):
        limits.add(KEY, "4 steps", 1, Sample(1.4))
    assert 2 == limits.limit(KEY, "4 steps")

    limits = BatchLimits()
    for _ in range(TRIALS):
        limits.add(KEY, "guidance", 1, Sample(4.0))
        limits.add(KEY, "none", 2, Sample(4.2))
        limits.add(KEY, "none", 1, Sample(2.0))
    assert {KEY: 1} == limits.by_size


def test_the_last_samples_are_compared() -> None:
    """One run of many that was faster than all others does not stand for them."""
    limits = BatchLimits()
    limits.add(KEY, COMMON, 1, Sample(0.1))
    for _ in range(TRIALS):
        limits.add(KEY, COMMON, 1, Sample(1.0))
    for _ in range(TRIALS):
        limits.add(KEY, COMMON, 2, Sample(1.5))

    assert 2 == limits.limit(KEY, COMMON)


def test_what_is_known_is_bounded() -> None:
    """By the sizes, the kinds of calls and the samples; what was used last is kept."""
    limits = BatchLimits()
    for number in range(10 * MAX_SIZES):
        limits.add(f"class {number}x{number}", COMMON, 1, Sample(1.0))
        limits.add(KEY, f"{number} steps", 1, Sample(1.0))
    assert MAX_SIZES == len(limits.by_size)
    assert 2 == limits.limit(KEY, f"{10 * MAX_SIZES - 1} steps")

    for _ in range(100):
        limits.add(KEY, COMMON, 1, Sample(1.0))
    (learned,) = (each for key, each in limits._learned.items() if key == KEY)
    assert MAX_KEYS == len(learned.seconds)
    assert TRIALS == len(learned.seconds[COMMON][1])
