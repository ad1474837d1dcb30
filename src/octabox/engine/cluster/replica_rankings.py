"""The replicas of each model by when they are free."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from octabox.engine.cluster.ranking import Ranking
from octabox.engine.cluster.state import Replica


class ReplicaRankings:
    """The replicas of each model, and those of them that are free now, also by their adapters."""

    def __init__(self) -> None:
        self._of_model: defaultdict[str, Ranking] = defaultdict(Ranking)
        #: The free replicas by model and adapter, then by all their adapters; "" is any adapter, whatever the others are.
        self._free: dict[tuple[str, str], dict[frozenset[str], Ranking]] = {}

    def set(self, replica: Replica, at: float, *, idle: bool) -> None:
        """Add a replica, or change its rank; one that drains has none.

        Args:
            replica: The replica.
            at: When it is free.
            idle: Whether its device runs nothing.
        """
        if replica.draining:
            self.discard(replica)
            return
        self._of_model[replica.model].set(replica.name, at)
        if not (replica.free and idle):
            self._discard_free(replica)
            return
        for adapter, loaded in _places(replica):
            by_adapters = self._free.setdefault((replica.model, adapter), {})
            if loaded not in by_adapters:
                by_adapters[loaded] = Ranking()
            by_adapters[loaded].set(replica.name, at)

    def discard(self, replica: Replica) -> None:
        """Remove a replica, if it is there."""
        self._of_model[replica.model].discard(replica.name)
        self._discard_free(replica)

    def firsts(self, model: str, count: int) -> list[str]:
        """Return the names of the replicas of a model that are free first, and at most so many."""
        return self._of_model[model].firsts(count) if model in self._of_model else []

    def free(self, model: str, adapters: Iterable[str]) -> list[str]:
        """Return the names of the free replicas of a model one of which lacks the fewest of some adapters.

        Of all of them, and of those that have the same adapters, one of these among them, it is the one that has been free
        for the longest time.
        """
        by_adapters = [self._free.get((model, adapter), {}) for adapter in ("", *adapters)]
        names = dict.fromkeys(ranking.first() for each in by_adapters for ranking in each.values())
        return [name for name in names if name is not None]

    def _discard_free(self, replica: Replica) -> None:
        for adapter, loaded in _places(replica):
            by_adapters = self._free.get((replica.model, adapter))
            if by_adapters is None or (ranking := by_adapters.get(loaded)) is None:
                continue
            ranking.discard(replica.name)
            if not ranking:
                del by_adapters[loaded]
            if not by_adapters:
                del self._free[replica.model, adapter]


def _places(replica: Replica) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield where a replica is among the free ones: the adapter, and by which set of adapters."""
    yield "", frozenset()
    for adapter in replica.adapters:
        yield adapter, replica.adapters
