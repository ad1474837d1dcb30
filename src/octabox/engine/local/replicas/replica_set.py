"""The replicas of a model: which one is woken for a request, and when another one is loaded."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Protocol

from octabox.config.model import ModelConfig
from octabox.engine.cluster.autoscaling import (
    MIN_LOAD_SECONDS,
    ModelLoad,
    ScalingLimits,
    choose_drained,
    value_of_another,
)
from octabox.engine.cluster.eviction import keep_value
from octabox.engine.cluster.routing import choose_warm
from octabox.engine.cluster.state import LearnedDemand, ModelCosts, Replica
from octabox.engine.local.queue.queued_request import QueuedRequest
from octabox.engine.local.queue.waiting_list import WaitingList
from octabox.engine.local.replicas.local_replica import LocalReplica
from octabox.errors import OctaboxError

logger = logging.getLogger("octabox.engine")

#: The most replicas of a model whose configuration sets no number.
MAX_REPLICAS = 64

#: Seconds in which no replica is added after the load of one failed, and at most where there was no room for one.
PAUSE = 30.0


class ReplicaRoom(Protocol):
    """Knows whether another replica of a model has room."""

    @property
    def several_devices(self) -> bool:
        """Whether there may be another device than that of the first replica."""

    async def has_room(self, model: ModelConfig, size: int, excluded: Collection[str], value: float) -> bool:
        """Return whether a replica has a place that costs no more than it is worth.

        Args:
            model: Configuration of the model.
            size: Bytes that it needs on its device.
            excluded: Devices that it must not be on.
            value: Seconds that it is worth, of which unloading others costs some.
        """


class ModelWorth:
    """What is learned of a model while its server runs, as in the simulation: averages, which one long call changes little."""

    def __init__(self) -> None:
        self._demand = LearnedDemand()

    def note_request(self) -> None:
        """Count a request that arrives."""
        self._demand = self._demand.with_arrival(time.time())

    def note_run(self, seconds: float) -> None:
        """Learn from what a call took, or each one of a batch."""
        self._demand = self._demand.with_run(seconds)

    def note_load(self, seconds: float) -> None:
        """Learn from what a load took."""
        self._demand = self._demand.with_load(seconds)

    @property
    def costs(self) -> ModelCosts:
        """What is known of the model."""
        return self._demand.at(time.time())

    def of_replica(self, replicas: int) -> float:
        """Return the seconds that unloading a replica is expected to cost.

        Args:
            replicas: How many the model has.
        """
        return keep_value(self.costs, replicas)


class ReplicaSet:
    """The replicas of one model. The first one is loaded for the first request, others where waiting requests need them.

    Args:
        create: Creates a replica by its number, with what returns the devices that it must not be on.
        room: Knows whether another one has room.
        waiting: The requests that wait for the model.
        worth: What is learned of the model.
        maximum: How many there may be, even if the configuration of the model sets more.
    """

    def __init__(
        self,
        create: Callable[[int, Callable[[], list[str]]], LocalReplica],
        room: ReplicaRoom,
        waiting: WaitingList,
        worth: ModelWorth,
        maximum: int = MAX_REPLICAS,
    ) -> None:
        self._create, self._room, self._maximum = create, room, maximum
        self._waiting, self._worth = waiting, worth
        self._limits = ScalingLimits(max_replicas=maximum)
        self._replicas: list[LocalReplica] = []
        #: The loads in the background, and what they load once that is decided.
        self._adding: dict[asyncio.Task[None], LocalReplica | None] = {}
        self._timer: asyncio.TimerHandle | None = None
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
        return self._worth.costs.run_seconds / max(len(self.resident), 1)

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
        free = [each for each in self.resident if not (each.serving or each.yields_to)]
        if replica := choose_warm([each for each in free if not each.asleep] or free, request.adapters):
            replica.serve()
        elif not any(each.serving or each.yields_to for each in self._replicas) and not self.resident:
            self._replicas[0].serve()

    def on_loaded(self, request: QueuedRequest, seconds: float | None) -> None:
        """Learn from the load of a replica, and load another one where that is needed.

        Args:
            request: The request that it was loaded for.
            seconds: What the load took; None where the replica has only woken up.
        """
        if seconds is not None:
            self._worth.note_load(seconds)
        self.scale(request)

    def scale(self, request: QueuedRequest) -> None:
        """Load another replica in the background, where the requests that wait, or the configuration, need it.

        Args:
            request: One of the requests.
        """
        self._limits = scaling_limits(request.model, self._maximum)
        loaded = [each for each in self.resident if each.measured]
        if not loaded or not self._room.several_devices:
            return
        costs = self._worth.costs
        self._set_timer(costs.load_seconds)
        # Several may be loaded at a time, each once the place of the one before is known.
        placing = any(replica is None or not replica.resident for replica in self._adding.values())
        if placing or time.monotonic() < self._paused_until:
            return
        value = value_of_another(model_load(self.resident, self._waiting, costs), self._limits)
        if value is not None:
            add = self._add(request, loaded[0], value)
            task = asyncio.create_task(add, name=f"replica of {request.model.name}")
            self._adding[task] = None
            task.add_done_callback(self._adding.pop)

    async def close(self) -> None:
        """End all replicas."""
        if self._timer:
            self._timer.cancel()
        for task in list(self._adding):
            task.cancel()
            await asyncio.wait({task})
        await asyncio.gather(*(each.close() for each in self._replicas))

    def _set_timer(self, load_seconds: float) -> None:
        """Decide again once a request has waited for as long as a load takes, since calls may take longer than expected."""
        if self._timer is None and len(self._waiting):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(load_seconds, MIN_LOAD_SECONDS), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        for request in self._waiting:
            self.scale(request)
            break

    async def _add(self, request: QueuedRequest, loaded: LocalReplica, value: float) -> None:
        """Load another replica where it costs no more than it is worth, and let it serve."""
        size = loaded.memory.get(loaded.device or "", 0)
        devices = [each.device for each in self.resident if each.device]
        if not await self._room.has_room(request.model, size, devices, value):
            # As long as a load takes, nothing that begins now would be of use.
            self._paused_until = time.monotonic() + min(PAUSE, max(loaded.load_seconds, MIN_LOAD_SECONDS))
            return
        free = [each for each in self._replicas if not (each.resident or each.serving)]
        replica = free[0] if free else self._add_new()
        if task := asyncio.current_task():
            self._adding[task] = replica
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


def model_load(resident: Sequence[LocalReplica], waiting: Iterable[QueuedRequest], costs: ModelCosts) -> ModelLoad:
    """Return what a model has to do.

    Args:
        resident: Its replicas in memory, or being loaded.
        waiting: The requests that wait.
        costs: What is known of it.
    """
    now = time.perf_counter()
    # Replicas that run nothing take the first ones immediately.
    free = sum(not each.taken for each in resident if each.measured)
    waits = sorted(now - each.enqueued_at for each in waiting if each.call)
    waits = waits[: max(0, len(waits) - free)]
    return ModelLoad(
        len(resident),
        len(waits),
        costs,
        [each.taken.wait(costs.run_seconds) if each.measured else costs.load_seconds for each in resident],
        max(waits, default=0.0),
        loading=not all(each.measured for each in resident),
    )


def scaling_limits(model: ModelConfig, maximum: int = MAX_REPLICAS) -> ScalingLimits:
    """Return how many replicas a model may have: the configured number, or as many as are needed, up to a maximum."""
    if model.parallel:
        return ScalingLimits(max_replicas=1)
    if model.replicas == "auto":
        return ScalingLimits(max_replicas=maximum)
    count = min(model.replicas, maximum)
    return ScalingLimits(count, count)
