"""Learn how many runs of a size are faster together than alone, and how many memory allows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from octabox.engine.batches.keys import MAX_MEMBERS, MAX_SIZES

#: Samples of each of two sizes before they are compared, which are the last ones.
TRIALS = 3

#: Time for a member of a larger batch, relative to the smaller one, below which the larger one is faster.
FASTER = 0.97

#: Runs after which sizes that were compared are compared again, since other work of the machine may have disturbed it.
COMPARE_INTERVAL = 1000

#: How many kinds of calls of a size are compared.
MAX_KEYS = 8

#: Factor on the predicted memory of a batch.
MARGIN = 1.2

Value = TypeVar("Value")


@dataclass(frozen=True)
class Sample:
    """What a call of the pipeline took.

    Args:
        seconds: Its duration.
        peak: The most bytes that it needed on the device, in addition to the weights; 0 if that is not known.
        available: Bytes that were available on the device; None if that is not known.
    """

    seconds: float
    peak: int = 0
    available: int | None = None


@dataclass
class _Learned:
    """What is known of the batches of one class and size.

    A larger batch is a candidate until it was compared with the best size so far; the two alternate meanwhile, so that
    other work of the machine disturbs both. Only calls that differ in nothing but texts, seeds and media are compared.
    """

    best: int = 1
    candidate: int = 2
    ceiling: int = MAX_MEMBERS
    compared: int = 0
    #: The last times for a member, by what calls have in common and by the size of the batch.
    seconds: dict[str, dict[int, deque[float]]] = field(default_factory=dict)
    peaks: dict[int, int] = field(default_factory=dict)

    @property
    def limit(self) -> int:
        """How many may run together now, whatever they have in common."""
        return max((self.limit_of(key) for key in self.seconds), default=min(self.best, self.ceiling))

    def limit_of(self, batch_key: str) -> int:
        """Return how many calls with this in common may run together now."""
        best, candidate = (self._count(batch_key, size) for size in (self.best, self.candidate))
        is_due = 0 < self.candidate <= self.ceiling and candidate < best
        return min(self.candidate if is_due else self.best, self.ceiling)

    def add(self, batch_key: str, members: int, sample: Sample) -> None:
        """Add a sample of a batch of so many members."""
        size = 1 << (members - 1).bit_length()
        if sample.peak:
            self.peaks[members] = max(sample.peak, self.peaks.get(members, 0))
        if self.candidate and size in (self.best, self.candidate):
            by_size = use_last(self.seconds, batch_key, dict, MAX_KEYS)
            by_size.setdefault(size, deque(maxlen=TRIALS)).append(sample.seconds / members)
        if self.candidate and not self.has_room(self.candidate, sample.available):
            self._end()
        elif self.candidate and all(self._count(batch_key, each) >= TRIALS for each in (self.best, self.candidate)):
            self._compare(self.seconds[batch_key])
        elif not self.candidate:
            self.compared += 1
            if self.compared >= COMPARE_INTERVAL:
                self.best, self.candidate, self.compared = 1, 2, 0

    def halve(self, members: int) -> None:
        """Allow half as many as in a batch that has failed."""
        self.ceiling = max(1, min(members // 2, self.ceiling))
        self.best = min(self.best, self.ceiling)
        self._end()

    def _count(self, batch_key: str, size: int) -> int:
        return len(self.seconds.get(batch_key, {}).get(size, ()))

    def _compare(self, seconds: Mapping[int, Iterable[float]]) -> None:
        """Choose between the candidate and the best size so far."""
        best, candidate = (min(seconds[size]) for size in (self.best, self.candidate))
        following = 0
        if candidate < FASTER * best:
            self.best, following = self.candidate, 2 * self.candidate
        self._end()
        self.candidate = following if following <= self.ceiling else 0

    def _end(self) -> None:
        """End the comparison with the candidate."""
        self.candidate = 0
        self.seconds.clear()

    def has_room(self, members: int, available: int | None) -> bool:
        """Return whether memory is enough for so many members, by a line through the measured peaks."""
        if not self.peaks or available is None:
            return True
        sizes = sorted(self.peaks)
        low, high = sizes[0], sizes[-1]
        slope = self.peaks[low] / low
        if low != high:
            slope = max(0.0, (self.peaks[high] - self.peaks[low]) / (high - low))
        return MARGIN * (self.peaks[high] + slope * (members - high)) <= available


class BatchLimits:
    """How many runs may run together, by class and size; batches double as long as they become faster.

    What is known of the sizes that were used last is kept.

    Args:
        ceilings: The most that may, by class and size, after failures in earlier processes.
    """

    def __init__(self, ceilings: Mapping[str, int] | None = None) -> None:
        self._learned = {key: _Learned(ceiling=ceiling) for key, ceiling in (ceilings or {}).items()}

    @property
    def by_size(self) -> Mapping[str, int]:
        """How many may run together now, by class and size."""
        return {key: each.limit for key, each in self._learned.items()}

    @property
    def ceilings(self) -> Mapping[str, int]:
        """The most that may run together after failures of larger batches, by class and size."""
        return {key: each.ceiling for key, each in self._learned.items() if each.ceiling < MAX_MEMBERS}

    def limit(self, key: str, batch_key: str) -> int:
        """Return how many may run together now; 1 until a run of that size was measured.

        Args:
            key: Their class and size.
            batch_key: What they have in common.
        """
        return self._learned[key].limit_of(batch_key) if key in self._learned else 1

    def members_in_memory(self, key: str, available: int | None, limit: int) -> int:
        """Return how many may share a call in so much memory, as far as their memory is known; 1 at least.

        Args:
            key: Their class and size.
            available: Free bytes; None if they are not known.
            limit: The most that may.
        """
        learned = self._learned.get(key)
        sizes = range(limit, 1, -1)
        return next((size for size in sizes if learned is None or learned.has_room(size, available)), 1)

    def add(self, key: str, batch_key: str, members: int, sample: Sample) -> None:
        """Add what a call of the pipeline took.

        Args:
            key: Its class and size.
            batch_key: What it has in common with the calls that it is compared with.
            members: How many runs it was for.
            sample: What it took.
        """
        use_last(self._learned, key, _Learned, MAX_SIZES).add(batch_key, members, sample)

    def halve(self, key: str, members: int) -> None:
        """Allow half as many as in a batch that has failed."""
        use_last(self._learned, key, _Learned, MAX_SIZES).halve(members)


def use_last(known: dict[str, Value], key: str, create: Callable[[], Value], limit: int) -> Value:
    """Return the value of a key, which is created if it is missing, and forget the one that was not used for the longest time.

    Args:
        known: The values, in the order of their last use.
        key: The key.
        create: Creates a value.
        limit: How many are kept.
    """
    value = known[key] = known.pop(key) if key in known else create()
    if len(known) > limit:
        del known[next(iter(known))]
    return value
