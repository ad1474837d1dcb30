"""One replica of a model: a worker on a node, and what it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from octabox.engine.local.queued_request import QueuedRequest
from octabox.engine.local.resident.resident_queue import ResidentQueue
from octabox.engine.local.resident.retention import Retention
from octabox.engine.local.supervisor import WorkerSupervisor
from octabox.errors import LoadError
from octabox.types import ModelStatus

#: Seconds without requests after which a replica that is not the only one is unloaded.
SCALE_DOWN_DELAY = 60.0


class Replica(ResidentQueue):
    """One replica of a model.

    Args:
        supervisor: Keeps its worker.
        retention: How long the model stays in memory.
        is_extra: Returns whether another replica of the model is in memory.
        on_idle: Called after an unload.
    """

    def __init__(
        self,
        supervisor: WorkerSupervisor,
        retention: Retention,
        is_extra: Callable[[Replica], bool],
        on_idle: Callable[[], None],
    ) -> None:
        super().__init__(supervisor, retention)
        self.supervisor, self.serving = supervisor, asyncio.Lock()
        #: The requests that it serves.
        self.current: list[QueuedRequest] = []
        #: The LoRAs of its last call.
        self.adapters: object = None
        self._is_extra, self._on_idle = is_extra, on_idle

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory."""
        worker = self.supervisor.worker
        return worker is not None and worker.loaded is not None

    @property
    def free(self) -> bool:
        """Whether it may serve a request now."""
        return not (self.current or self.serving.locked())

    @property
    def idle(self) -> bool:
        """Whether the model is in memory, and nothing runs on it."""
        return self.resident and self.free and not self.supervisor.busy

    @property
    def pinned(self) -> bool:
        """Whether it is never unloaded for another model, as the only replica of a pinned one is not."""
        return super().pinned and not self._is_extra(self)

    @property
    def expires(self) -> float | None:
        """When it is unloaded if no request arrives; one of several is not needed for long."""
        expires = super().expires
        if not self._is_extra(self):
            return expires
        return min(self.last_used + SCALE_DOWN_DELAY, expires or float("inf"))

    def status(self) -> ModelStatus | None:
        """Return its status; None if the model is not in memory."""
        worker = self.supervisor.worker
        return worker.status(waiting=0, busy=bool(self.current) or self.supervisor.busy) if worker else None

    def batch_limit(self, request: QueuedRequest) -> int:
        """Return how many runs may share a batch with those of a request, by what the worker has learned."""
        worker = self.supervisor.worker
        return worker.batch_limit(request.call) if worker and request.call else 1

    async def unload(self) -> bool:
        """End a load, or the worker once it is idle; return whether there was one."""
        was_resident = self.resident
        self.supervisor.loading.stop(_unloading(self.name))
        async with self.serving:
            await self.supervisor.drain()
            was_resident = was_resident or self.resident
            await self.supervisor.stop()
        self._on_idle()
        return was_resident


class ReplicaPool:
    """The replicas of one model.

    Args:
        create: Creates a replica by its number; the second argument returns whether another one keeps the model in memory.
    """

    def __init__(self, create: Callable[[int, Callable[[Replica], bool]], Replica]) -> None:
        self._create = create
        self._replicas: list[Replica] = []

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._replicas)

    @property
    def resident(self) -> list[Replica]:
        """The replicas that are in memory, or being loaded."""
        return [each for each in self if each.resident or each.current]

    @property
    def is_warm(self) -> bool:
        """Whether one has loaded the model, so that it is known that it can be loaded, and how long that takes."""
        return any(each.loaded for each in self)

    @property
    def run_seconds(self) -> float:
        """What a call takes."""
        times = [each.supervisor.run_seconds for each in self if each.loaded]
        return sum(times) / len(times) if times else 1.0

    def choose(self, request: QueuedRequest) -> Replica | None:
        """Return the replica that runs a request; None while all are busy.

        A replica with the model and the same LoRAs in memory is best, then the one that was used last; one without the model
        is chosen only where none has it.
        """
        free = [each for each in self if each.free]
        if loaded := [each for each in free if each.loaded]:
            adapters = requested_adapters(request)
            return max(loaded, key=lambda each: (each.adapters == adapters, each.last_used))
        return None if self.resident else self.find_unused()

    def find_unused(self) -> Replica:
        """Return a replica that is not in memory; a new one if need be."""
        found = next((each for each in self if each.free and not each.resident), None)
        if found is None:
            found = self._create(len(self._replicas), self._is_extra)
            self._replicas.append(found)
        return found

    def _is_extra(self, replica: Replica) -> bool:
        """Return whether another replica, and not this one, keeps the model in memory."""
        loaded = [each for each in self if each.loaded]
        return len(loaded) > 1 and loaded[0] is not replica


def requested_adapters(request: QueuedRequest) -> object:
    """Return the LoRAs of a request's call."""
    return request.call.runs[0].adapters if request.call and request.call.runs else None


def _unloading(model: str) -> LoadError:
    message = f"The load of model '{model}' was stopped, since the model is being unloaded."
    return LoadError(message, hint="Send the request again to load it.", model=model)
