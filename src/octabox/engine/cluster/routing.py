"""Which of the replicas of a model that are free takes a request."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from octabox.engine.cluster.index import ClusterIndex


def choose_warm(index: ClusterIndex, model: str, adapters: AbstractSet[str] = frozenset()) -> str | None:
    """Return the free replica of a model that lacks the fewest of some adapters; None if none is free.

    Of equal ones, it is the one that has been free for the longest time, then by its name.

    Args:
        index: The cluster.
        model: Key of the model.
        adapters: Adapters that the request applies.
    """
    candidates = index.free_replicas(model, sorted(adapters))
    ranked = [(len(adapters - each.adapters), index.free_at(each), each.name) for each in candidates]
    return min(ranked)[-1] if ranked else None
