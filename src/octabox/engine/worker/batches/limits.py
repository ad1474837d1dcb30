"""Learn how many runs of a size are faster together than alone, and how many memory allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from octabox.engine.batches.keys import MAX_MEMBERS

#: Samples of each of two sizes before they are compared.
TRIALS = 3

#: Time for a member of a larger batch, relative to the smaller one, below which the larger one is faster.
FASTER = 0.97

#: Runs after which sizes that were compared are compared again, since other work of the machine may have disturbed it.
COMPARE_INTERVAL = 1000

#: Factor on the predicted memory of a batch.
MARGIN = 1.2


@dataclass(frozen=True)
class Sample:
    """What a call of the pipeline took.

    Args:
        seconds: Its duration by step.
        peak: The most bytes that it needed on the accelerator, in addition to the weights; 0 if that is not known.
        available: Bytes that were available on the accelerator; None if that is not known.
    """

    seconds: float
    peak: int = 0
    available: int | None = None


@dataclass
class _Learned:
    """What is known of the batches of one class and size.

    A larger batch is a candidate until it was compared with the best size so far; the two alternate meanwhile, so that
    other work of the machine disturbs both.
    """

    best: int = 1
    candidate: int = 2
    ceiling: int = MAX_MEMBERS
    compared: int = 0
    seconds: dict[int, list[float]] = field(default_factory=dict)
    peaks: dict[int, int] = field(default_factory=dict)

    @property
    def limit(self) -> int:
        """How many may run together now."""
        best, candidate = (len(self.seconds.get(size, ())) for size in (self.best, self.candidate))
        is_due = 0 < self.candidate <= self.ceiling and candidate < best
        return min(self.candidate if is_due else self.best, self.ceiling)

    def add(self, members: int, sample: Sample) -> None:
        """Add a sample of a batch of so many members."""
        size = 1 << (members - 1).bit_length()
        if sample.peak:
            self.peaks[members] = max(sample.peak, self.peaks.get(members, 0))
        if size in (self.best, self.candidate):
            self.seconds.setdefault(size, []).append(sample.seconds / members)
        if self.candidate and not self._has_room(self.candidate, sample.available):
            self.candidate = 0
        elif self.candidate and all(len(self.seconds.get(each, ())) >= TRIALS for each in (self.best, self.candidate)):
            self._compare()
        elif not self.candidate:
            self.compared += 1
            if self.compared >= COMPARE_INTERVAL:
                self.best, self.candidate, self.compared, self.seconds = 1, 2, 0, {}

    def _compare(self) -> None:
        """Choose between the candidate and the best size so far."""
        best, candidate = (min(self.seconds[size]) for size in (self.best, self.candidate))
        if candidate < FASTER * best:
            self.best, self.candidate = self.candidate, 2 * self.candidate
            self.seconds = {self.best: []}
        else:
            self.candidate = 0
        if self.candidate > self.ceiling:
            self.candidate = 0

    def _has_room(self, members: int, available: int | None) -> bool:
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
    """How many runs may run together, by class and size; batches double as long as they become faster."""

    def __init__(self) -> None:
        self._learned: dict[str, _Learned] = {}

    @property
    def by_size(self) -> Mapping[str, int]:
        """How many may run together now, by class and size."""
        return {key: each.limit for key, each in self._learned.items()}

    @property
    def ceilings(self) -> Mapping[str, int]:
        """The most that may run together after failures of larger batches, by class and size."""
        return {key: each.ceiling for key, each in self._learned.items() if each.ceiling < MAX_MEMBERS}

    def limit(self, key: str) -> int:
        """Return how many may run together now; 1 until a run of that size was measured."""
        return self._learned[key].limit if key in self._learned else 1

    def add(self, key: str, members: int, sample: Sample) -> None:
        """Add what a call of the pipeline took.

        Args:
            key: Its class and size.
            members: How many runs it was for.
            sample: What it took.
        """
        self._learned.setdefault(key, _Learned()).add(members, sample)

    def halve(self, key: str, members: int) -> None:
        """Allow half as many as in a batch that has failed."""
        learned = self._learned.setdefault(key, _Learned())
        learned.ceiling = max(1, min(members // 2, learned.ceiling))
        learned.best = min(learned.best, learned.ceiling)
        learned.candidate = 0
