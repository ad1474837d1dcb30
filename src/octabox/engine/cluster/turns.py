"""When a model in use gives its place to another one, whose requests have waited longer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from octabox.engine.cluster.eviction import plan_eviction
from octabox.engine.cluster.state import Replica

#: How many times as long as its load took a model keeps its place: where models take turns, loads take a quarter of the time.
TURN_LOADS = 3.0

#: The most seconds of that, since a load may have included a download.
MAX_TURN = 300.0

#: Seconds after which a request does not wait for earlier ones of another model any more.
MAX_PASSED_SECONDS = 300.0


@dataclass(frozen=True)
class Claim:
    """A request that waits, as far as it matters which model has a place.

    Args:
        since: When it arrived.
        priority: Its priority; the highest is first.
    """

    since: float
    priority: int = 0

    @property
    def rank(self) -> tuple[int, float]:
        """Its place among those that wait for the same; the lowest is first."""
        return (-self.priority, self.since)


@dataclass(frozen=True)
class Turn:
    """The turn of a replica that is loaded.

    Args:
        began: When it was loaded, or its weights came back.
        load_seconds: What its load took, or its weights to the host and back if they were there before this turn.
        following: The request that it would run next; None if none waits.
    """

    began: float
    load_seconds: float
    following: Claim | None = None


def seconds_until_yield(turn: Turn, claim: Claim, now: float) -> float:
    """Return in how many seconds a replica in use has to give its place to a request for another model.

    It runs what is earlier or has a higher priority, and keeps its place for some time after its load, so that models take
    turns which are longer than their loads. It always runs one call or batch, and ends none.

    Args:
        turn: The turn of the replica.
        claim: The request for the other model.
        now: The time.

    Returns:
        The seconds: 0 where its next request has to wait, infinity while that has a higher priority.
    """
    following = turn.following
    if following is not None and following.priority > claim.priority:
        return math.inf
    end = turn.began + min(TURN_LOADS * turn.load_seconds, MAX_TURN)
    if following is not None and following.rank <= claim.rank:
        end = max(end, claim.since + MAX_PASSED_SECONDS)
    return max(0.0, end - now)


def plan_yields(
    replicas: Iterable[Replica], needed: int, value: Callable[[Replica], float], seconds: Mapping[str, float]
) -> tuple[Replica, ...] | None:
    """Return which replicas in use give their places, to free so many bytes; None if those that have to are not enough.

    Args:
        replicas: The replicas on the device.
        needed: Bytes to free.
        value: Returns what unloading a replica costs.
        seconds: In how many seconds each has to, by its name; those that are missing do not.
    """
    ready = [replace(each, waiting=0) for each in replicas if seconds.get(each.name, math.inf) <= 0]
    return plan_eviction(ready, needed, value)
