"""How many replicas a model has."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from octabox.engine.cluster.state import ModelCosts, Replica


@dataclass(frozen=True)
class ScalingLimits:
    """What a model may have.

    Args:
        min_replicas: The fewest replicas; with 0 all are unloaded after `keep_alive`.
        max_replicas: The most replicas.
        target_wait: Seconds that the last of the waiting requests may wait where a load takes no longer.
        hold: Seconds for which fewer replicas must have sufficed before one is unloaded.
        keep_alive: Seconds without requests after which the last replica is unloaded.
    """

    min_replicas: int = 0
    max_replicas: int = 1
    target_wait: float = 2.0
    hold: float = 300.0
    keep_alive: float = math.inf


@dataclass(frozen=True)
class ModelLoad:
    """What a model has to do.

    Args:
        replicas: How many replicas it has, those that are being loaded included.
        waiting: How many requests have not finished.
        costs: What was learned of it.
        last_used: When it had its last request.
        fewer_since: Since when fewer replicas suffice, as the last `Scaling` states it.
    """

    replicas: int
    waiting: int
    costs: ModelCosts
    last_used: float = 0.0
    fewer_since: float | None = None


@dataclass(frozen=True)
class Scaling:
    """How many replicas a model should have.

    Args:
        replicas: How many.
        fewer_since: Since when fewer suffice; None where they do not.
    """

    replicas: int
    fewer_since: float | None = None


def replicas_needed(waiting: int, costs: ModelCosts, target_wait: float) -> int:
    """Return how many replicas the requests of a model need, whatever its limits are.

    The queue counts only where the replicas that are there take longer for it than a load does: a new one would be of no
    use before. The learned rate needs its mean of concurrent requests, and a reserve for its fluctuation.

    Args:
        waiting: How many requests have not finished.
        costs: What was learned of the model.
        target_wait: Seconds that the last request may wait where a load takes no longer.
    """
    run = max(costs.run_seconds, 1e-3)
    by_queue = waiting * run / (run + max(target_wait, costs.load_seconds))
    mean = costs.rate * run
    by_rate = mean + math.sqrt(mean)
    return max(math.ceil(by_queue), math.ceil(by_rate))


def autoscale(load: ModelLoad, limits: ScalingLimits, now: float) -> Scaling:
    """Return how many replicas a model should have.

    More are added where they are needed. One at a time is removed, and only where fewer have sufficed for a while; the last
    one after `keep_alive`.

    Args:
        load: What it has to do.
        limits: What it may have.
        now: The time.
    """
    needed = replicas_needed(load.waiting, load.costs, limits.target_wait)
    expired = not load.waiting and now - load.last_used >= limits.keep_alive
    lowest = max(limits.min_replicas, 0 if expired or not load.replicas else 1)
    target = min(
        max(needed if load.waiting or not expired else 0, lowest), max(limits.max_replicas, limits.min_replicas)
    )
    if not load.replicas and not load.waiting:
        target = limits.min_replicas  # What was unloaded is loaded again for a request, not for its rate.
    if target >= load.replicas:
        return Scaling(target)
    since = now if load.fewer_since is None else load.fewer_since
    if expired and load.replicas == 1:
        return Scaling(target)
    if now - since < limits.hold:
        return Scaling(load.replicas, since)
    return Scaling(load.replicas - 1, now)


def choose_drained(replicas: Iterable[Replica], count: int) -> list[Replica]:
    """Return the replicas of a model that take no new requests, and are unloaded once they have finished theirs.

    Args:
        replicas: Its replicas.
        count: How many are to be unloaded; those that drain already count.
    """
    ranked = sorted(
        (each for each in replicas if not each.pinned),
        key=lambda each: (not each.draining, each.waiting, each.busy_until, each.name),
    )
    return ranked[:count]
