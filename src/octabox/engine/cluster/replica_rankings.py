"""The replicas of each model by when they are free."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

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
            by_adapters.setdefault(loaded, Ranking()).set(replica.name, at)

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
            key = (replica.model, adapter)
            by_adapters = self._free.get(key, {})
            if (ranking := by_adapters.get(loaded)) is not None:
                ranking.discard(replica.name)
                if not ranking:
                    del by_adapters[loaded]
            if not by_adapters:
                self._free.pop(key, None)


def _places(replica: Replica) -> list[tuple[str, frozenset[str]]]:
    """Return where a replica is among the free ones."""
    return [("", frozenset()), *((adapter, replica.adapters) for adapter in replica.adapters)]
