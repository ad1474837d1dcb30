"""How often a model is requested, and how long its requests take, learned from each of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from octabox.engine.cluster.state import ModelCosts

#: Seconds over which the rate of requests is averaged.
WINDOW = 1800.0

#: Seconds without a request that count as observed before the first one, so that it alone does not show a high rate.
BEFORE = 300.0

#: Share of the last measured time in the learned one.
LAST = 0.2


@dataclass(frozen=True)
class LearnedDemand:
    """What was learned of a model from its requests and loads.

    Args:
        costs: The averages; the rate is the sum of the window at the time of the last request.
        last_used: When the last request arrived; None before the first.
        since: When the first request arrived; None before it.
        runs: How many requests were measured.
        loads: How many loads were measured.
    """

    costs: ModelCosts = field(default_factory=ModelCosts)
    last_used: float | None = None
    since: float | None = None
    runs: int = 0
    loads: int = 0

    def at(self, now: float) -> ModelCosts:
        """Return the averages at a time; the rate falls while no request arrives.

        The window is not full before its seconds have passed, so that the rate is that of the part which was observed.
        """
        if self.since is None:
            return self.costs
        observed = max(0.0, now - self.since) + BEFORE
        return replace(self.costs, rate=self._window_rate(now) / -math.expm1(-observed / WINDOW))

    def with_arrival(self, now: float) -> LearnedDemand:
        """Return this with a request that arrives."""
        costs = replace(self.costs, rate=self._window_rate(now) + 1 / WINDOW)
        return replace(self, costs=costs, last_used=now, since=now if self.since is None else self.since)

    def with_run(self, seconds: float) -> LearnedDemand:
        """Return this with what a request took; the first one replaces the assumption."""
        share = max(LAST, 1 / (self.runs + 1))
        mean = self.costs.run_seconds + share * (seconds - self.costs.run_seconds)
        return replace(self, costs=replace(self.costs, run_seconds=mean), runs=self.runs + 1)

    def with_load(self, seconds: float) -> LearnedDemand:
        """Return this with what a load took; the first one replaces the assumption."""
        share = max(LAST, 1 / (self.loads + 1))
        mean = self.costs.load_seconds + share * (seconds - self.costs.load_seconds)
        return replace(self, costs=replace(self.costs, load_seconds=mean), loads=self.loads + 1)

    def _window_rate(self, now: float) -> float:
        """Return the requests of the window by its seconds, as if it were full."""
        if self.last_used is None:
            return self.costs.rate
        return self.costs.rate * math.exp(-max(0.0, now - self.last_used) / WINDOW)
