"""When a model gets another replica, and which of several it can do without."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from octabox.engine.cluster.eviction import keep_value
from octabox.engine.cluster.state import ModelCosts, Replica

#: How many replicas of a model, and how many of its waiting requests, a decision looks at; it takes the others for similar.
LOOK = 16

#: Share of what one more replica is worth that loading it may cost other models, where no request waits for it.
SPARE_SHARE = 0.3

#: Seconds without requests after which a replica is unloaded where others keep the model in memory.
IDLE_SECONDS = 300.0

#: Seconds that a request may wait where a load takes no longer.
MIN_LOAD_SECONDS = 2.0


@dataclass(frozen=True)
class ScalingLimits:
    """What a model may have.

    Args:
        min_replicas: The fewest replicas once it has requests.
        max_replicas: The most replicas.
    """

    min_replicas: int = 0
    max_replicas: int = 1


@dataclass(frozen=True)
class ModelLoad:
    """What a model has to do.

    Args:
        replicas: How many replicas it has, those that are being loaded included.
        waiting: How many requests wait, since no replica is free.
        costs: What was learned of it.
        ready: Seconds until each replica is free; only of the first ones, where there are many.
        oldest: Seconds for which the first of the waiting requests has waited.
        loading: Whether a replica is being loaded.
    """

    replicas: int
    waiting: int
    costs: ModelCosts
    ready: Sequence[float] = ()
    oldest: float = 0.0
    loading: bool = False


def value_of_another(load: ModelLoad, limits: ScalingLimits) -> float | None:
    """Return what one more replica is worth: the seconds that loading it may cost others; None if none is to be loaded.

    The first one is worth anything. Another one is worth what it shortens the wait of the last request by. As the times of
    requests are not known for sure, a request that has waited for as long as a load takes has its wait counted instead. Where
    a request waits, or the rate of requests needs more, it is also worth a share of what keeping it would be.

    Args:
        load: What the model has to do.
        limits: What it may have.
    """
    count, costs = load.replicas, load.costs
    if count >= max(limits.max_replicas, limits.min_replicas):
        return None
    if not count:
        return math.inf if load.waiting else None
    wait = expected_wait(load)
    if not load.loading:
        wait = max(wait, load.oldest)
    shortened = wait - max(costs.load_seconds, MIN_LOAD_SECONDS)
    values = [shortened] if load.waiting and shortened > 0 else []
    mean = costs.rate * costs.run_seconds
    if load.waiting or math.ceil(mean + math.sqrt(mean)) > count:
        values.append(SPARE_SHARE * keep_value(costs, count + 1))
    if count < limits.min_replicas:
        values.append(0.0)  # For a configured number, nothing of value is unloaded.
    return max(values, default=None)


def expected_wait(load: ModelLoad) -> float:
    """Return the seconds until the last of the waiting requests is expected to start on the replicas that there are.

    Args:
        load: What the model has to do.
    """
    ready = list(load.ready)
    if not ready or not load.waiting:
        return 0.0
    heapq.heapify(ready)
    # What is known of some replicas stands for all, and so do the first requests.
    waiting = max(1, round(load.waiting * len(ready) / max(load.replicas, len(ready))))
    start = 0.0
    for _ in range(min(waiting, LOOK)):
        start = heapq.heappop(ready)
        heapq.heappush(ready, start + load.costs.run_seconds)
    return start + max(0, waiting - LOOK) * load.costs.run_seconds / len(ready)


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
