"""Keys in the order of a rank that changes often: a heap whose outdated entries are skipped."""

from __future__ import annotations

import heapq
from collections.abc import Callable

#: How many outdated entries a heap may have in addition to as many as it has keys.
SLACK = 16


class Ranking:
    """Keys by their rank, the lowest first; equal ranks are in the order of the keys."""

    __slots__ = ("_heap", "_ranks")

    def __init__(self) -> None:
        self._ranks: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._ranks)

    def set(self, key: str, rank: float) -> None:
        """Add a key, or change its rank."""
        if self._ranks.get(key) == rank:
            return
        self._ranks[key] = rank
        heapq.heappush(self._heap, (rank, key))
        if len(self._heap) > 2 * len(self._ranks) + SLACK:
            # Each rebuild follows as many changes as there are keys, so that it costs each of them a constant time.
            self._heap = [(rank, key) for key, rank in self._ranks.items()]
            heapq.heapify(self._heap)

    def discard(self, key: str) -> None:
        """Remove a key, if it is there."""
        self._ranks.pop(key, None)

    def first(self) -> str | None:
        """Return the key with the lowest rank; None if there is none."""
        while self._heap:
            rank, key = self._heap[0]
            if self._ranks.get(key) == rank:
                return key
            heapq.heappop(self._heap)
        return None

    def firsts(self, count: int, accepts: Callable[[str], bool] = lambda _: True, skip: int = 0) -> list[str]:
        """Return the keys with the lowest ranks, in their order.

        Args:
            count: How many at most.
            accepts: Returns whether a key counts.
            skip: How many that do not count are passed over at most.
        """
        seen: list[tuple[float, str]] = []
        found: list[str] = []
        while len(found) < count and len(seen) < count + skip and self.first() is not None:
            entry = heapq.heappop(self._heap)
            if seen and seen[-1] == entry:
                continue  # A rank that was changed and changed back has two entries.
            seen.append(entry)
            if accepts(entry[1]):
                found.append(entry[1])
        for entry in seen:
            heapq.heappush(self._heap, entry)
        return found
