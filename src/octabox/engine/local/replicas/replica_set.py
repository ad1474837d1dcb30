"""The replicas of a model: which one is woken for a request, and when another one is loaded."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator
from typing import Protocol

from octabox.config.model import ModelConfig
from octabox.engine.cluster.autoscaling import ModelLoad, ScalingLimits, autoscale, choose_drained
from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.routing import choose_warm
from octabox.engine.cluster.state import Device, ModelCosts, Replica, RoutedRequest
from octabox.engine.local.queued_request import QueuedRequest
from octabox.engine.local.replicas.local_replica import LocalReplica
from octabox.errors import OctaboxError

logger = logging.getLogger("octabox.engine")

#: The most replicas of a model whose configuration sets no number.
MAX_REPLICAS = 64

#: Seconds in which no replica is added, after there was no room for one, or its load failed.
PAUSE = 30.0

#: Seconds that applying another adapter is taken to cost; any number prefers the replica that has it.
ADAPTER_SECONDS = 0.1


class ReplicaRoom(Protocol):
    """Knows whether another replica of a model has room."""

    @property
    def several_devices(self) -> bool:
        """Whether there may be another device than that of the first replica."""

    async def has_room(self, model: ModelConfig, size: int, excluded: Collection[str]) -> bool:
        """Return whether a replica has room without unloading a model.

        Args:
            model: Configuration of the model.
            size: Bytes that it needs on its device.
            excluded: Devices that it must not be on.
        """


class ReplicaSet:
    """The replicas of one model. The first one is loaded for the first request, others where waiting requests need them.

    Args:
        create: Creates a replica by its number, with what returns the devices that it must not be on.
        room: Knows whether another one has room.
        maximum: How many there may be, even if the configuration of the model sets more.
    """

    def __init__(
        self,
        create: Callable[[int, Callable[[], list[str]]], LocalReplica],
        room: ReplicaRoom,
        maximum: int = MAX_REPLICAS,
    ) -> None:
        self._create, self._room, self._maximum = create, room, maximum
        self._limits = ScalingLimits(max_replicas=maximum)
        self._replicas: list[LocalReplica] = []
        self._adding: asyncio.Task[None] | None = None
        self._paused_until = 0.0
        self._add_new()

    def __iter__(self) -> Iterator[LocalReplica]:
        return iter(list(self._replicas))

    @property
    def resident(self) -> list[LocalReplica]:
        """The replicas in memory, or being loaded."""
        return [each for each in self._replicas if each.resident]

    @property
    def run_seconds(self) -> float:
        """The time in which one request leaves the queue."""
        resident = self.resident
        last = max(each.supervisor.run_seconds for each in resident or self._replicas)
        return last / max(len(resident), 1)

    @property
    def extra(self) -> set[str]:
        """The names of the replicas that may be unloaded, since as many as are configured, or one, were used later."""
        loaded = [each for each in self._replicas if each.load_seconds]
        count = len(loaded) - max(self._limits.min_replicas, 1)
        states = [
            Replica(each.name, "", each.name, waiting=len(each.taken), busy_until=each.last_used) for each in loaded
        ]
        return {each.name for each in choose_drained(states, max(count, 0))}

    def wake(self, request: QueuedRequest) -> None:
        """Let a replica serve the requests that wait, unless all are doing so.

        Args:
            request: The request that was added.
        """
        free = [each for each in self.resident if not each.serving]
        if free:
            _choose([each for each in free if not each.asleep] or free, request).serve()
        elif not any(each.serving for each in self._replicas) and not self.resident:
            self._replicas[0].serve()

    def scale(self, request: QueuedRequest, waiting: int) -> None:
        """Load another replica in the background, where the requests that wait, or the configuration, need it.

        Args:
            request: One of the requests.
            waiting: How many wait.
        """
        self._limits = scaling_limits(request.model, self._maximum)
        loaded = [each for each in self.resident if each.measured]
        adding = self._adding is not None and not self._adding.done()
        if not loaded or adding or not self._room.several_devices or time.monotonic() < self._paused_until:
            return
        costs = ModelCosts(
            load_seconds=max(each.load_seconds for each in loaded),
            run_seconds=max(each.supervisor.run_seconds for each in loaded),
        )
        unfinished = waiting + sum(len(each.taken) for each in loaded)
        load = ModelLoad(len(self.resident), unfinished, costs, time.time())
        if autoscale(load, self._limits, time.time()).replicas > len(self.resident):
            self._adding = asyncio.create_task(self._add(request, loaded[0]), name=f"replica of {request.model.name}")

    async def close(self) -> None:
        """End all replicas."""
        if self._adding:
            self._adding.cancel()
            await asyncio.wait({self._adding})
        await asyncio.gather(*(each.close() for each in self._replicas))

    async def _add(self, request: QueuedRequest, loaded: LocalReplica) -> None:
        """Load another replica where there is room for what a loaded one holds, and let it serve."""
        size = loaded.memory.get(loaded.device or "", 0)
        devices = [each.device for each in self.resident if each.device]
        if not await self._room.has_room(request.model, size, devices):
            self._paused_until = time.monotonic() + PAUSE
            return
        free = [each for each in self._replicas if not (each.resident or each.serving)]
        replica = free[0] if free else self._add_new()
        try:
            await replica.load(QueuedRequest(request.model, request.pipeline))
        except OctaboxError as error:
            logger.warning("No other replica of '%s' is loaded: %s", request.model.name, error)
            self._paused_until = time.monotonic() + PAUSE
        else:
            logger.info("%s was loaded on %s, since requests wait", replica.name, replica.device)
        self.wake(request)

    def _add_new(self) -> LocalReplica:
        """Create a replica; each must be on another device than the others."""

        def occupied() -> list[str]:
            return [each.device for each in self._replicas if each is not replica and each.device]

        replica = self._create(len(self._replicas) + 1, occupied)
        self._replicas.append(replica)
        return replica


def scaling_limits(model: ModelConfig, maximum: int = MAX_REPLICAS) -> ScalingLimits:
    """Return how many replicas a model may have: the configured number, or as many as are needed, up to a maximum."""
    if model.replicas == "auto":
        return ScalingLimits(max_replicas=maximum)
    count = min(model.replicas, maximum)
    return ScalingLimits(count, count)


def _choose(free: list[LocalReplica], request: QueuedRequest) -> LocalReplica:
    """Return the replica that serves a request: one that has applied its adapters, if possible."""
    index = ClusterIndex()
    for each in free:
        index.put_device(Device(each.name, 1))
        index.put(Replica(each.name, "", each.name, adapters=each.taken.adapters))
    route = choose_warm(
        index, RoutedRequest("", adapters=request.adapters), 0.0, ModelCosts(adapter_seconds=ADAPTER_SECONDS)
    )
    return next((each for each in free if route and each.name == route.replica), free[0])
