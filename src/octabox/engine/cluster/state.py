"""Devices, replicas and what is learned of models, as far as it matters where requests run. Times are seconds of some clock."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

#: Seconds over which the rate of requests is averaged.
WINDOW = 1800.0

#: Seconds without a request that count as observed before the first one, so that it alone does not show a high rate.
BEFORE = 300.0

#: Share of the last measured time in the learned one.
LAST = 0.2


@dataclass(frozen=True)
class Device:
    """A device that holds replicas.

    Args:
        name: Its name, unique in the cluster.
        total: Bytes that replicas may hold on it.
        node: The machine that it fails with.
        busy_until: When it will have finished the work that it has; for an idle device, when it finished the last.
        working: Whether it runs something.
        draining: Whether it takes no new replicas.
        processors: CPUs that replicas may reserve on it, where it is all those of a node; None does not count them.
    """

    name: str
    total: int
    node: str = ""
    busy_until: float = 0.0
    working: bool = False
    draining: bool = False
    processors: int | None = None


@dataclass(frozen=True)
class Replica:
    """A model on a device, in memory or being loaded.

    Args:
        name: Its name, unique in the cluster.
        model: Key of what it has loaded.
        device: Name of its device.
        size: Bytes that it holds there.
        busy_until: When it will have finished the requests that it has, or its load.
        waiting: How many requests it has: those that run, and those that wait for it.
        adapters: Adapters that it has loaded.
        loading: Whether it is being loaded.
        draining: Whether it takes no new requests, since it is to be unloaded.
        pinned: Whether it is never unloaded for another one.
        processors: CPUs that it reserves there, where they are counted.
    """

    name: str
    model: str
    device: str
    size: int = 0
    busy_until: float = 0.0
    waiting: int = 0
    adapters: frozenset[str] = frozenset()
    loading: bool = False
    draining: bool = False
    pinned: bool = False
    processors: int = 0

    @property
    def evictable(self) -> bool:
        """Whether it may be unloaded for another one: it is not in use, not being loaded, and not pinned."""
        return not (self.waiting or self.loading or self.pinned)

    @property
    def free(self) -> bool:
        """Whether it takes a request now, as far as its device is idle."""
        return not (self.waiting or self.loading or self.draining)


@dataclass(frozen=True)
class ModelCosts:
    """What was learned of a model.

    Args:
        load_seconds: What a load takes.
        run_seconds: What a request takes.
        rate: Requests for each second.
    """

    load_seconds: float = 30.0
    run_seconds: float = 1.0
    rate: float = 0.0


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
