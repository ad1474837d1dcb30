"""Which replica runs a request, or where a new one is loaded for it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.placement import Placement, choose_device
from octabox.engine.cluster.state import ModelCosts, Replica, RoutedRequest


@dataclass(frozen=True)
class Route:
    """Where a request runs.

    Args:
        start: When it is expected to start.
        replica: Name of the replica that runs it; None if one is loaded for it.
        placement: Where that one is loaded.
    """

    start: float
    replica: str | None = None
    placement: Placement | None = None


def choose_replica(
    index: ClusterIndex,
    request: RoutedRequest,
    now: float,
    costs: Callable[[str], ModelCosts],
    excluded: Collection[str] = (),
) -> Route | None:
    """Return where a request runs: on the replica where it is expected to start first, else on a new one.

    A replica that has the adapters, or a batch that the request may join, is free earlier in effect. A new replica is loaded
    where there is none, or where the wait for the others exceeds the load.

    Args:
        index: The cluster.
        request: The request.
        now: The time.
        costs: Returns what was learned of a model.
        excluded: Devices on which no replica must be loaded.

    Returns:
        The route; None where no replica exists, and none can be loaded until another one is not in use any more.
    """
    learned = costs(request.model)
    warm = choose_warm(index, request, now, learned)
    if warm is not None and warm.start - now <= learned.load_seconds:
        return warm
    placement = choose_device(index, request.model, request.size, now, costs, excluded)
    if placement is None:
        return warm
    start = now + max(placement.wait, learned.load_seconds)
    if warm is not None and warm.start <= start + placement.cost:
        return warm
    return Route(start, placement=placement)


def choose_warm(index: ClusterIndex, request: RoutedRequest, now: float, costs: ModelCosts) -> Route | None:
    """Return the replica of a model on which a request starts first; None if it has none that takes requests."""
    traits = (*sorted(request.adapters), *((request.batch_key,) if request.batch_key else ()))
    candidates = index.warm(request.model, traits)
    ranked = [(_start(index, each, request, now, costs), each.waiting, each.name) for each in candidates]
    if not ranked:
        return None
    start, _, name = min(ranked)
    return Route(start, name)


def _start(index: ClusterIndex, replica: Replica, request: RoutedRequest, now: float, costs: ModelCosts) -> float:
    """Return when a request is expected to start on a replica."""
    free_at = index.free_at(replica)
    if request.batch_key in replica.batch_keys:
        free_at -= costs.run_seconds  # It runs with requests that are counted already.
    return max(now, free_at) + costs.adapter_seconds * len(request.adapters - replica.adapters)
