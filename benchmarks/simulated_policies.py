"""Where requests run in the simulation: by Octabox, and by the baselines.

The baselines use the replicas that are there where their rule allows it, and unload what was not used for the longest time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from octabox.engine.cluster.autoscaling import replicas_needed
from octabox.engine.cluster.eviction import plan_eviction
from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.placement import Placement, choose_device
from octabox.engine.cluster.routing import choose_replica
from octabox.engine.cluster.state import ModelCosts, Replica, RoutedRequest
from simulated_cluster import Choice, Cluster, Model, Request

#: Share of a load that unloading others may cost where a replica is loaded that only shortens waits.
SPARE_COST = 0.3


class Octabox:
    """All of `octabox.engine.cluster`, and spare replicas; the engines let Ray or the free memory choose a device."""

    name = "octabox"

    def route(self, cluster: Cluster, request: Request) -> Choice | None:
        """Return where a request runs."""
        route = choose_replica(cluster.index, request.routed(), cluster.now, cluster.costs)
        if route is None:
            return None
        if route.placement is None:
            return Choice(route.replica)
        return Choice(None, route.placement.device, route.placement.evicted)

    def scale(self, cluster: Cluster, model: Model) -> Choice | None:
        """Return where one more replica of a model is loaded, where its requests need it."""
        request, unfinished = RoutedRequest(model.name, model.size), cluster.unfinished[model.name]
        placement = choose_extra(cluster.index, request, unfinished, cluster.now, cluster.costs)
        return Choice(None, placement.device, placement.evicted) if placement else None


class _Baseline:
    """What the baselines have in common: no replica is loaded before a request needs it."""

    def scale(self, cluster: Cluster, model: Model) -> Choice | None:
        """Return None."""

    def _loaded(self, cluster: Cluster, request: Request, devices: Iterable[str]) -> Choice | None:
        """Return a replica on the first of these devices that has one or room for one."""
        for device in devices:
            on_device = cluster.index.on_device(device)
            if found := next((each for each in on_device if each.model == request.model.name), None):
                return Choice(found.name)
            needed = request.model.size - cluster.index.free_bytes(device)
            # By bytes, since the value of each is divided by them: the one that was used first is unloaded first.
            evicted = plan_eviction(on_device, needed, lambda each: cluster.last_used[each.name] * each.size)
            if evicted is not None:
                return Choice(None, device, tuple(each.name for each in evicted))
        return None

    def _replicas(self, cluster: Cluster, request: Request) -> list[Replica]:
        return cluster.index.of_model(request.model.name)


def _by_work(cluster: Cluster, request: Request) -> list[str]:
    """Return devices that have room for a model, or can have it: the one with the least work first, or idle longest."""
    size = request.model.size
    names = {*cluster.index.roomy.firsts(size, 1), *cluster.index.reclaimable.firsts(size, 1)}
    return sorted(names, key=lambda name: (cluster.index.device(name).busy_until, name))


class LeastLoaded(_Baseline):
    """The device with the least work; of the idle ones, one that has the model."""

    name = "least-loaded"

    def route(self, cluster: Cluster, request: Request) -> Choice | None:
        """Return where a request runs."""
        idle = [each for each in self._replicas(cluster, request) if not each.waiting]
        warm = [each for each in idle if not cluster.devices[each.device].expected]
        if warm:
            return Choice(min(warm, key=lambda each: each.name).name)
        return self._loaded(cluster, request, _by_work(cluster, request))


class Random(_Baseline):
    """A replica of the model at random while one is idle, else a device at random."""

    name = "random"

    def __init__(self) -> None:
        self._rng = random.Random(0)

    def route(self, cluster: Cluster, request: Request) -> Choice | None:
        """Return where a request runs."""
        idle = [each for each in self._replicas(cluster, request) if not cluster.devices[each.device].expected]
        if idle:
            return Choice(self._rng.choice(idle).name)
        devices = self._rng.choices(cluster.names, k=20)
        return self._loaded(cluster, request, (name for name in devices if cluster.devices[name].up))


class Lru(_Baseline):
    """An idle replica of the model, else a new one on an idle device, else the replica with the least work."""

    name = "LRU"

    def route(self, cluster: Cluster, request: Request) -> Choice | None:
        """Return where a request runs."""
        replicas = self._replicas(cluster, request)
        first = min(replicas, key=lambda each: (cluster.index.free_at(each), each.name), default=None)
        if first is not None and not cluster.devices[first.device].expected and not first.loading:
            return Choice(first.name)
        devices = _by_work(cluster, request)
        idle = [name for name in devices if not cluster.devices[name].expected]
        choice = self._loaded(cluster, request, idle)
        if choice is not None or first is not None:
            return choice or Choice(first.name if first else None)
        return self._loaded(cluster, request, devices)


POLICIES = (Octabox, LeastLoaded, Random, Lru)


def choose_extra(
    index: ClusterIndex,
    request: RoutedRequest,
    unfinished: int,
    now: float,
    costs: Callable[[str], ModelCosts],
    target_wait: float = 2.0,
) -> Placement | None:
    """Return where one more replica of a model is loaded in the background; None if it needs none, or has no place.

    A replica that the queue or the rate needs may be loaded anywhere. Where the model merely has more unfinished requests
    than replicas, one is loaded only on an idle device, and only where what is unloaded there is worth little: the requests
    of now do not wait for it, but those that come next find it.

    Args:
        index: The cluster.
        request: A request of the model.
        unfinished: How many requests of the model have not finished.
        now: The time.
        costs: Returns what was learned of a model.
        target_wait: As in `replicas_needed`.
    """
    learned, count = costs(request.model), index.count(request.model)
    needed = replicas_needed(unfinished, learned, target_wait) > count
    if not needed and unfinished <= count:
        return None
    placement = choose_device(index, request.model, request.size, now, costs)
    if placement is None or needed:
        return placement
    spare = placement.wait <= 0 and placement.cost <= SPARE_COST * learned.load_seconds
    return placement if spare else None
