"""A model of a cluster, by discrete events: devices run one request or batch at a time, and hold models by their bytes.

The policy decides where and when each request runs; everything else is the same for all policies, and so is the traffic of
a seed.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.state import Device, LearnedDemand, ModelCosts, Replica

GIB = 2**30

#: Bytes of a device, devices of a node, and the rate at which a node reads weights.
DEVICE_BYTES, NODE_DEVICES, READ_RATE = 80 * GIB, 8, 2 * GIB

#: Seconds of a new process, of loading an adapter, and until a failed node is back.
START_SECONDS, ADAPTER_SECONDS, REPAIR_SECONDS = 4.0, 1.5, 600.0

#: Seconds of a node between failures, on average. Real nodes fail hundreds of times less often, so that nearly no run would
#: have a failure; with a day, 125 nodes have five in an hour.
NODE_LIFE = 86400.0

#: Runs' lengths after the end of a run within which its last requests must be answered, and the seconds that it is at least.
DRAIN_LENGTHS, DRAIN_SECONDS = 4, 7200.0

#: Requests of a batch, and what each after the first takes of its time.
MAX_BATCH, BATCH_SHARE = 4, 0.8

#: Share of models that make videos, and of requests with an adapter.
VIDEOS, ADAPTED = 0.1, 0.2

#: Share of the run during which no wait is counted, since the devices begin empty.
WARM_UP = 0.1


@dataclass(frozen=True)
class Model:
    """A model: its bytes, and what its requests take."""

    name: str
    size: int
    run_seconds: float

    @property
    def load_seconds(self) -> float:
        """What a load takes."""
        return START_SECONDS + self.size / READ_RATE


@dataclass(eq=False)
class Request:
    """A request, and the replica that it was sent to."""

    arrived: float
    model: Model
    seconds: float
    batch_key: str
    adapter: str | None
    replica: str = ""
    #: What it is expected to take.
    expected: float = 0.0
    #: When the run began that answers it, unless its device fails.
    started: float = 0.0

    @property
    def adapters(self) -> frozenset[str]:
        """The adapters that it applies."""
        return frozenset({self.adapter} if self.adapter else ())


@dataclass
class SimulatedDevice:
    """A device: what was sent to it, and what it runs."""

    name: str
    node: str
    queue: deque[Request] = field(default_factory=deque)
    running: list[Request] = field(default_factory=list)
    #: Counts its failures, so that what was begun before is known to be lost.
    life: int = 0
    busy_seconds: float = 0.0
    expected: float = 0.0
    up: bool = True


@dataclass(frozen=True)
class Choice:
    """What a policy decided: a replica, or a device where one is loaded once others were unloaded there."""

    replica: str | None = None
    device: str = ""
    evicted: tuple[str, ...] = ()


class Policy(Protocol):
    """Decides where and when requests run, and when replicas are loaded."""

    name: str

    def arrive(self, cluster: Cluster, request: Request) -> None:
        """Take a request that has arrived, or whose device was lost."""

    def take(self, cluster: Cluster, device: SimulatedDevice) -> list[Request]:
        """Take the requests that an idle device runs next, as one batch; none lets it be idle."""

    def freed(self, cluster: Cluster) -> None:
        """Use what has become free: a device has finished something, was repaired, or has loaded a replica."""


def zipf_models(count: int, rng: random.Random) -> tuple[list[Model], list[float]]:
    """Return models, and the share of the requests that each has."""
    models = []
    for number in range(count):
        seconds = rng.uniform(60, 180) if rng.random() < VIDEOS else rng.lognormvariate(math.log(8), 0.6)
        models.append(Model(f"m{number}", int(GIB * 2 ** rng.uniform(2, 5.5)), seconds))
    return models, [1 / (number + 1) for number in range(count)]


def traffic(
    models: list[Model], shares: list[float], devices: int, end: float, peak: float, rng: random.Random
) -> Iterator[Request]:
    """Yield the requests of one day, which lasts for the run: at its peak they need this share of the devices."""
    mean = sum(model.run_seconds * share for model, share in zip(models, shares, strict=True)) / sum(shares)
    highest, now = peak * devices / mean, 0.0
    cumulative = list(itertools.accumulate(shares))
    while True:
        now += rng.expovariate(highest)
        if now >= end:
            return
        level = 0.6 - 0.4 * math.cos(2 * math.pi * now / end)
        if rng.random() > level:
            continue
        model = rng.choices(models, cum_weights=cumulative)[0]
        adapter = f"{model.name}/{rng.randrange(5)}" if rng.random() < ADAPTED else None
        key = f"{rng.choice(('square', 'wide'))}/{adapter}"
        yield Request(now, model, model.run_seconds * rng.lognormvariate(0, 0.25), key, adapter)


class Cluster:
    """The devices, and the events of a run.

    Args:
        policy: Decides where requests run.
        devices: How many devices.
        end: Seconds of the run.
        seed: Seed of the failures.
        node_life: Seconds of a node between failures, on average.
    """

    def __init__(self, policy: Policy, devices: int, end: float, seed: int, node_life: float = NODE_LIFE) -> None:
        self.now, self.end, self._policy = 0.0, end, policy
        self.index = ClusterIndex()
        self.devices: dict[str, SimulatedDevice] = {}
        self.demand: dict[str, LearnedDemand] = {}
        self.last_used: dict[str, float] = {}
        self.waits: list[float] = []
        #: Loads and failures of nodes of the run, its requests, and how many of these are answered or were lost and sent again.
        self.loads, self.failures, self.requests, self.answered, self.restarted = 0, 0, 0, 0, 0
        #: How many replicas of each model are being loaded.
        self.loading: Counter[str] = Counter()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        for number in range(devices):
            device = SimulatedDevice(f"d{number:05}", f"n{number // NODE_DEVICES:04}")
            self.devices[device.name] = device
            self._put_device(device)
        self.names = list(self.devices)
        self._schedule_failures(random.Random(seed), node_life)

    def run(self, requests: Iterator[Request]) -> None:
        """Run all requests that arrive until the end of the run, and then those that are left.

        Raises:
            AssertionError: A request is not answered.
        """
        for request in requests:
            self._advance(request.arrived)
            self._learn_arrival(request)
            self._policy.arrive(self, request)
        self._advance(self.end)
        latest = self.end + max(DRAIN_LENGTHS * self.end, DRAIN_SECONDS)
        while self.answered < self.requests:
            assert self._events, f"{self.requests - self.answered} requests are never answered"
            assert self.now < latest, f"{self.requests - self.answered} requests are not answered long after the end"
            self._step()

    def costs(self, model: str) -> ModelCosts:
        """Return what was learned of a model."""
        return self.demand[model].at(self.now)

    @property
    def use(self) -> float:
        """The share of the devices' time in which they ran requests."""
        return sum(each.busy_seconds for each in self.devices.values()) / (self.end * len(self.devices))

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do something at a time."""
        heapq.heappush(self._events, (when, next(self._number), action))

    def send(self, request: Request, name: str) -> None:
        """Send a request to a replica, whose device runs it after what it was sent before."""
        replica = self.index.replica(name)
        assert replica is not None
        device = self.devices[replica.device]
        joins = any((each.replica, each.batch_key) == (name, request.batch_key) for each in device.queue)
        request.replica = name
        request.expected = self.demand[request.model.name].costs.run_seconds * (BATCH_SHARE if joins else 1)
        device.queue.append(request)
        device.expected += request.expected
        self.last_used[name] = self.now
        self.change(name, 1)
        self._put_device(device)
        self.start_next(device)

    def change(self, name: str, requests: int) -> None:
        """Add requests to those that a replica has, or subtract them."""
        if replica := self.index.replica(name):
            self.index.put(replace(replica, waiting=replica.waiting + requests))

    def load(self, model: Model, choice: Choice) -> str:
        """Load a replica, and return its name."""
        for evicted in choice.evicted:
            replica = self.index.replica(evicted)
            assert replica is not None
            assert replica.evictable, "a replica in use was evicted"
            self.unload(evicted)
        assert self.index.free_bytes(choice.device) >= model.size, "a device has too few bytes"
        name, device = f"{model.name}@{choice.device}#{next(self._number)}", self.devices[choice.device]
        ready = self.now + model.load_seconds
        self.index.put(Replica(name, model.name, choice.device, model.size, busy_until=ready, loading=True))
        self.loads += self.now < self.end
        self.loading[model.name] += 1
        self.last_used[name] = self.now
        self.at(ready, lambda: self._loaded(device, name, model))
        return name

    def unload(self, name: str) -> None:
        """Remove a replica."""
        self.index.remove(name)
        self.last_used.pop(name, None)

    def start_next(self, device: SimulatedDevice) -> None:
        """Let a device that is idle run what the policy takes for it."""
        if device.running or not device.up or not (batch := self._policy.take(self, device)):
            return
        first, device.running = batch[0], batch
        for request in batch:
            request.started = self.now
        replica = self.index.replica(first.replica)
        assert replica is not None
        seconds = max(each.seconds for each in batch) * (1 + BATCH_SHARE * (len(batch) - 1))
        if not first.adapters <= replica.adapters:
            seconds += ADAPTER_SECONDS
            self.index.put(replace(replica, adapters=replica.adapters | first.adapters))
        life = device.life
        self._put_device(device)
        self.at(self.now + seconds, lambda: self._finished(device, seconds, life))

    def _advance(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self._step()
        self.now = until

    def _step(self) -> None:
        """Let the next event happen."""
        self.now, _, action = heapq.heappop(self._events)
        action()

    def _learn_arrival(self, request: Request) -> None:
        model = request.model
        before = self.demand.get(model.name)
        if before is None:
            # The size is known before the first load; how long a request takes is not.
            before = LearnedDemand(ModelCosts(model.load_seconds, 10.0))
        self.demand[model.name] = before.with_arrival(self.now)
        self.requests += 1

    def _loaded(self, device: SimulatedDevice, name: str, model: Model) -> None:
        if replica := self.index.replica(name):
            self.index.put(replace(replica, loading=False))
            self.loading[model.name] -= 1
            self.demand[model.name] = self.demand[model.name].with_load(model.load_seconds)
            self.start_next(device)
            self._policy.freed(self)

    def _finished(self, device: SimulatedDevice, seconds: float, life: int) -> None:
        if device.life != life:
            return
        batch, device.running = device.running, []
        device.busy_seconds += max(0.0, min(self.now, self.end) - (self.now - seconds))
        # A wait counts once a request is answered: it ends with the start of the run that did not fail.
        self.answered += len(batch)
        self.waits += [each.started - each.arrived for each in batch if each.arrived >= WARM_UP * self.end]
        model, name = batch[0].model.name, batch[0].replica
        self.demand[model] = self.demand[model].with_run(seconds / len(batch))
        self.last_used[name] = self.now
        device.expected = sum(each.expected for each in device.queue)
        self._put_device(device)
        self.change(name, -len(batch))
        self.start_next(device)
        self._policy.freed(self)

    def _put_device(self, device: SimulatedDevice) -> None:
        """Describe a device to the policy, by what its work is expected to take."""
        until, working = self.now + device.expected, bool(device.running)
        self.index.put_device(Device(device.name, DEVICE_BYTES, device.node, until, working))

    def _schedule_failures(self, rng: random.Random, node_life: float) -> None:
        """Let nodes fail at times that depend on the seed only, so that they are those of every policy."""
        for node in sorted({each.node for each in self.devices.values()}):
            when = rng.expovariate(1 / node_life)
            while when < self.end:
                self.at(when, lambda node=node: self._fail(node))  # type: ignore[misc]
                when += REPAIR_SECONDS + rng.expovariate(1 / node_life)

    def _fail(self, node: str) -> None:
        """Take a node down: its replicas are lost, and its requests are sent again."""
        self.failures += 1
        lost: list[Request] = []
        failed = [each for each in self.devices.values() if each.node == node]
        for device in failed:
            lost += [*device.running, *device.queue]
            device.queue.clear()
            device.running, device.expected, device.up = [], 0.0, False
            device.life += 1
            for replica in self.index.remove_device(device.name):
                self.loading[replica.model] -= replica.loading
                self.last_used.pop(replica.name, None)
        self.restarted += len(lost)
        self.at(self.now + REPAIR_SECONDS, lambda: self._repair(failed))
        for request in sorted(lost, key=lambda each: each.arrived):
            self._policy.arrive(self, request)

    def _repair(self, devices: list[SimulatedDevice]) -> None:
        for device in devices:
            device.up = True
            self._put_device(device)
        self._policy.freed(self)
