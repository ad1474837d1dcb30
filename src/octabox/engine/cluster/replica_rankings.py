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
        #: The free replicas by model and adapter; all those of a model have the adapter "".
        self._free: dict[tuple[str, str], Ranking] = {}

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
        for adapter in ("", *replica.adapters):
            self._free.setdefault((replica.model, adapter), Ranking()).set(replica.name, at)

    def discard(self, replica: Replica) -> None:
        """Remove a replica, if it is there."""
        self._of_model[replica.model].discard(replica.name)
        self._discard_free(replica)

    def firsts(self, model: str, count: int) -> list[str]:
        """Return the names of the replicas of a model that are free first, and at most so many."""
        return self._of_model[model].firsts(count) if model in self._of_model else []

    def free(self, model: str, adapters: Iterable[str]) -> list[str]:
        """Return the name of the replica of a model that has been free for the longest time, and the first by adapter."""
        rankings = [self._free.get((model, adapter)) for adapter in ("", *adapters)]
        names = dict.fromkeys(each.first() for each in rankings if each is not None)
        return [name for name in names if name is not None]

    def _discard_free(self, replica: Replica) -> None:
        for adapter in ("", *replica.adapters):
            key = (replica.model, adapter)
            if (ranking := self._free.get(key)) is not None:
                ranking.discard(replica.name)
                if not ranking:
                    del self._free[key]
