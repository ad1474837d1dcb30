"""Where requests run in the simulation: by Octabox, and by the baselines.

The baselines send each request to a replica when it arrives, as a router does, and unload what was not used for the longest
time.
"""

from __future__ import annotations

import itertools
import random
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable

from octabox.engine.cluster.autoscaling import IDLE_SECONDS, LOOK, ModelLoad, ScalingLimits, value_of_another
from octabox.engine.cluster.eviction import keep_value, plan_eviction
from octabox.engine.cluster.placement import choose_device
from octabox.engine.cluster.routing import choose_warm
from octabox.engine.cluster.state import Replica
from simulated_cluster import BATCH_SHARE, MAX_BATCH, Choice, Cluster, Model, Request, SimulatedDevice

#: A model may have a replica on each device.
LIMITS = ScalingLimits(max_replicas=10**6)

#: How many of the models that have no place are tried where something has become free.
RETRIED = 4


class Octabox:
    """The queue of each model, whose replicas take its requests; all decisions are those of `octabox.engine.cluster`."""

    name = "octabox"

    def __init__(self) -> None:
        self._queues: dict[str, deque[Request]] = {}
        self._unplaced: dict[str, Model] = {}
        self._watched: set[str] = set()
        self._timers: set[str] = set()
        #: The models whose queue counts among the requests of each of their replicas.
        self._marked: set[str] = set()

    def arrive(self, cluster: Cluster, request: Request) -> None:
        """Let a free replica take a request, or let it wait, and load a replica where that is worth it."""
        queue = self._queues.setdefault(request.model.name, deque())
        # Those whose device was lost arrived before others.
        insort(queue, request, key=lambda each: each.arrived)
        if len(queue) == 1:
            free = cluster.index.free_replicas(request.model.name, request.adapters)
            if replica := choose_warm(free, request.adapters):
                cluster.start_next(cluster.devices[replica.device])
        self._mark(cluster, request.model)
        self._scale(cluster, request.model)
        if queue:
            self._set_timer(cluster, request.model)

    def take(self, cluster: Cluster, device: SimulatedDevice) -> list[Request]:
        """Take the first request of the model on the device that waits for the longest time, and its batch."""
        loaded = [each for each in cluster.index.on_device(device.name) if not each.loading]
        waiting = [(queue[0].arrived, each) for each in loaded if (queue := self._queues.get(each.model))]
        if not waiting:
            return []
        _, replica = min(waiting, key=lambda pair: (pair[0], pair[1].name))
        queue = self._queues[replica.model]
        same = (each for each in queue if each.batch_key == queue[0].batch_key)
        batch = list(itertools.islice(same, MAX_BATCH))
        for request in batch:
            queue.remove(request)
            request.replica = replica.name
        self._mark(cluster, batch[0].model)
        cluster.change(replica.name, len(batch))
        cluster.last_used[replica.name] = cluster.now
        self._watch(cluster, replica.name, IDLE_SECONDS)
        run_seconds = cluster.demand[replica.model].costs.run_seconds
        device.expected = run_seconds * (1 + BATCH_SHARE * (len(batch) - 1))
        return batch

    def freed(self, cluster: Cluster) -> None:
        """Load the models that had no place."""
        for model in list(itertools.islice(self._unplaced.values(), RETRIED)):
            self._scale(cluster, model)

    def _scale(self, cluster: Cluster, model: Model) -> None:
        """Load one more replica of a model, if that is worth what it costs others."""
        index, name, now, queue = cluster.index, model.name, cluster.now, self._queues[model.name]
        load = ModelLoad(
            index.count(name),
            len(queue),
            cluster.costs(name),
            index.waits(name, LOOK, now) if queue else (),
            now - queue[0].arrived if queue else 0.0,
            loading=cluster.loading[name] > 0,
        )
        self._unplaced.pop(name, None)
        value = value_of_another(load, LIMITS)
        if value is None:
            return
        placement = choose_device(index, name, model.size, now, keep_values(cluster), load.costs.load_seconds)
        if placement is None or placement.seconds > value:
            if not load.replicas:
                self._unplaced[name] = model
            return
        loaded = cluster.load(model, Choice(None, placement.device, placement.evicted))
        if name in self._marked:
            cluster.change(loaded, 1)

    def _watch(self, cluster: Cluster, name: str, seconds: float) -> None:
        """Unload a replica after a while without requests, if there are others."""
        if name in self._watched:
            return

        def check() -> None:
            self._watched.discard(name)
            replica = cluster.index.replica(name)
            if replica is None or cluster.index.count(replica.model) == 1:
                return
            left = IDLE_SECONDS - (cluster.now - cluster.last_used[name])
            if replica.evictable and left <= 0:
                cluster.unload(name)
            else:
                self._watch(cluster, name, max(left, 1.0))

        self._watched.add(name)
        cluster.at(cluster.now + seconds, check)

    def _mark(self, cluster: Cluster, model: Model) -> None:
        """Count the queue, if there is one, among the requests of each replica of a model, so that none is unloaded."""
        waits = bool(self._queues[model.name])
        if waits == (model.name in self._marked):
            return
        (self._marked.add if waits else self._marked.discard)(model.name)
        for each in cluster.index.of_model(model.name):
            cluster.change(each.name, 1 if waits else -1)

    def _set_timer(self, cluster: Cluster, model: Model) -> None:
        """Decide again once a request has waited for as long as a load takes."""
        if model.name in self._timers:
            return

        def check() -> None:
            self._timers.discard(model.name)
            if self._queues[model.name]:
                self._scale(cluster, model)
                self._set_timer(cluster, model)

        self._timers.add(model.name)
        cluster.at(cluster.now + cluster.costs(model.name).load_seconds, check)


def keep_values(cluster: Cluster) -> Callable[[Replica], float]:
    """Return what tells the seconds that unloading a replica is expected to cost, for one decision."""
    known: dict[str, float] = {}

    def value(replica: Replica) -> float:
        model = replica.model
        if model not in known:
            known[model] = keep_value(cluster.costs(model), cluster.index.count(model))
        return known[model]

    return value


class _Baseline:
    """What the baselines have in common: each request is sent when it arrives, and devices run what they were sent."""

    def __init__(self) -> None:
        self._held: deque[Request] = deque()

    def arrive(self, cluster: Cluster, request: Request) -> None:
        """Send a request where the rule says, or hold it until something has become free."""
        choice = self.route(cluster, request)
        if choice is None:
            self._held.append(request)
        else:
            cluster.send(request, choice.replica or cluster.load(request.model, choice))

    def take(self, cluster: Cluster, device: SimulatedDevice) -> list[Request]:
        """Take the first request whose replica is loaded, with those that may share a batch with it."""
        loaded = {each.name for each in cluster.index.on_device(device.name) if not each.loading}
        first = next((each for each in device.queue if each.replica in loaded), None)
        if first is None:
            return []
        same = (each for each in device.queue if (each.replica, each.batch_key) == (first.replica, first.batch_key))
        batch = list(itertools.islice(same, MAX_BATCH))
        for request in batch:
            device.queue.remove(request)
        return batch

    def freed(self, cluster: Cluster) -> None:
        """Send what was held."""
        for _ in range(len(self._held)):
            self.arrive(cluster, self._held.popleft())

    def route(self, cluster: Cluster, request: Request) -> Choice | None:
        """Return where a request runs; None holds it."""
        raise NotImplementedError

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
        super().__init__()
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
