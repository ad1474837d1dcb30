"""Which replicas are unloaded for another one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from octabox.engine.cluster.state import ModelCosts, Replica

#: Seconds ahead for which the chance of a use counts.
HORIZON = 1800.0

#: Seconds that any request is taken to last, so that models are compared by their requests and not by microseconds.
MIN_RUN_SECONDS = 1e-3

#: From this many replicas, the number of concurrent requests is taken as normally distributed.
MANY = 12


def chance_of_need(costs: ModelCosts, replicas: int, horizon: float = HORIZON) -> float:
    """Return the chance that so many replicas of a model are needed together within the horizon.

    The number of concurrent requests follows a Poisson distribution, whose mean is the rate times the time of a request;
    the horizon has as many independent trials as requests fit into it.

    Args:
        costs: What was learned of the model.
        replicas: How many.
        horizon: Seconds.
    """
    run_seconds = max(costs.run_seconds, MIN_RUN_SECONDS)
    mean = costs.rate * run_seconds
    if mean <= 0:
        return 0.0
    trials = max(1.0, horizon / run_seconds)
    missing = min(1.0, _tail(replicas, mean))
    # Exact for tiny chances, too, so that models that were not used for days still have an order.
    return 1.0 if missing >= 1 else -math.expm1(trials * math.log1p(-missing))


def keep_value(costs: ModelCosts, replicas: int) -> float:
    """Return the seconds that unloading one of a model's replicas costs: those of a reload, by the chance that it is needed.

    Args:
        costs: What was learned of the model.
        replicas: How many it has.
    """
    return costs.load_seconds * chance_of_need(costs, replicas)


def plan_eviction(
    replicas: Iterable[Replica], needed: int, value: Callable[[Replica], float], processors: int = 0
) -> tuple[Replica, ...] | None:
    """Return what to unload to free so many bytes, and CPUs, of a device; None if that is not possible.

    What is in use, being loaded or pinned is never unloaded. Those whose value is lowest for each byte are first, of equal
    ones those that were used first, and none is unloaded that the others make superfluous.

    Args:
        replicas: The replicas on the device.
        needed: Bytes to free.
        value: Returns what unloading a replica costs.
        processors: CPUs to free.
    """
    if needed <= 0 and processors <= 0:
        return ()

    def share(replica: Replica) -> float:
        """Return how much of what is needed a replica frees."""
        if processors <= 0:
            return max(replica.size, 1)
        return max(replica.size / needed if needed > 0 else 0.0, 0.0) + replica.processors / processors or 1e-9

    candidates = [each for each in replicas if each.evictable]
    taken: list[Replica] = []
    spare, spare_processors = -needed, -processors
    for replica in sorted(candidates, key=lambda each: (value(each) / share(each), each.busy_until, each.name)):
        taken.append(replica)
        spare, spare_processors = spare + replica.size, spare_processors + replica.processors
        if spare >= 0 and spare_processors >= 0:
            break
    if spare < 0 or spare_processors < 0:
        return None
    for replica in list(reversed(taken)):
        if replica.size <= spare and replica.processors <= spare_processors:
            taken.remove(replica)
            spare, spare_processors = spare - replica.size, spare_processors - replica.processors
    return tuple(taken)


def _tail(count: int, mean: float) -> float:
    """Return the chance that a Poisson variable is at least so large."""
    if count <= 0:
        return 1.0
    if count > MANY:
        return 0.5 * math.erfc((count - 0.5 - mean) / math.sqrt(2 * mean))
    if mean > 10 * MANY:
        return 1.0
    if count == 1:
        return -math.expm1(-mean)
    term = below = math.exp(-mean)
    for number in range(1, count):
        term *= mean / number
        below += term
    return max(0.0, 1.0 - below)
