"""How many replicas of a model are to be in memory."""

from __future__ import annotations

import math

#: Seconds of work that may wait for one replica, however fast its model loads: a queue that short needs no other one.
MIN_WAIT = 2.0


def desired_replicas(*, waiting: int, replicas: int, run_seconds: float, load_seconds: float, maximum: int) -> int:
    """Return how many replicas a model is to have for the calls that wait.

    One more is of use where the calls wait longer for those that there are than it takes to load. A replica that is not
    needed any more is unloaded for lack of requests.

    Args:
        waiting: How many calls wait.
        replicas: How many replicas are in memory or being loaded.
        run_seconds: What a call takes.
        load_seconds: What a load takes.
        maximum: How many replicas there may be; 0 is no limit.
    """
    if not waiting:
        return replicas
    patience = max(load_seconds, MIN_WAIT)
    desired = max(replicas, 1, math.floor(waiting * run_seconds / patience) if replicas else 1)
    return max(min(desired, maximum), min(replicas, maximum)) if maximum else desired
