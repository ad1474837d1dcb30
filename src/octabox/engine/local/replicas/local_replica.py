"""One replica of a model: it takes waiting requests, and runs them on its worker one call or batch at a time."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from octabox.engine.cluster.autoscaling import IDLE_SECONDS
from octabox.engine.cluster.state import ModelCosts
from octabox.engine.cluster.turns import Claim, Turn
from octabox.engine.local.model_worker import ModelWorker, WorkerHolder
from octabox.engine.local.processes.liveness import SHUTDOWN_TIMEOUT
from octabox.engine.local.processes.uninterrupted import run_locked
from octabox.engine.local.queue.queued_request import QueuedRequest, as_octabox_error, log_failure
from octabox.engine.local.queue.waiting_list import WaitingList
from octabox.engine.local.resident.retention import Retention
from octabox.engine.local.supervisor import WorkerSupervisor
from octabox.errors import LoadError, OctaboxError, WorkerDiedError

#: Seconds in which a worker must have moved its weights to the host.
MOVE_TIMEOUT = 120.0


class LearnedWorth(Protocol):
    """What is learned of a model."""

    @property
    def costs(self) -> ModelCosts:
        """What is known of it."""


class ReplicaOwner(Protocol):
    """The queue of a model, as its replicas know it."""

    retention: Retention

    @property
    def worth(self) -> LearnedWorth:
        """What is learned of the model."""

    @property
    def resident(self) -> bool:
        """Whether a replica is in memory, or being loaded."""

    def is_extra(self, name: str) -> bool:
        """Return whether others keep the model in memory, so that this replica may be unloaded."""

    @property
    def keep_value(self) -> float:
        """Seconds that unloading a replica is expected to cost."""

    def on_taken(self, request: QueuedRequest) -> None:
        """Note that a replica has taken requests, of which this is the first."""

    def on_idle(self, unloaded: bool) -> None:
        """Note that a replica has no request left, or was unloaded."""


class LocalReplica(WorkerHolder):
    """A replica of a model, which shares the waiting requests with the others.

    Args:
        supervisor: Runs requests on the worker.
        waiting: The requests that wait for the model.
        owner: The queue of the model.
    """

    def __init__(self, supervisor: WorkerSupervisor, waiting: WaitingList, owner: ReplicaOwner) -> None:
        self.name, self.supervisor, self.last_used = supervisor.key, supervisor, time.time()
        #: The requests that run on it.
        self.taken = TakenRequests(supervisor.name, waiting, owner.on_taken)
        #: The model that it gives its place to, which may need others as well; empty if there is none.
        self.yields_to = ""
        self._waiting, self._owner, self._serving = waiting, owner, asyncio.Lock()
        self._server: asyncio.Task[None] | None = None

    @property
    def worker(self) -> ModelWorker | None:
        """Its worker."""
        return self.supervisor.worker

    @property
    def idle(self) -> bool:
        """Whether the model is in memory, and no request waits for it or runs on it."""
        return self.resident and not (self._serving.locked() or self.supervisor.busy or self._waiting)

    @property
    def serving(self) -> bool:
        """Whether it takes the requests that wait, or is loading the model."""
        return self._serving.locked() or not (self._server is None or self._server.done())

    @property
    def adapters(self) -> frozenset[str]:
        """The adapters of its last call."""
        return self.taken.adapters

    @property
    def pinned(self) -> bool:
        """Whether it is never unloaded for another model, as one that alone keeps a pinned model in memory is not."""
        return self._owner.retention.pinned and not self._owner.is_extra(self.name)

    @property
    def expires(self) -> float | None:
        """When it is unloaded if no request arrives, in seconds since the epoch; one of several is not kept for long."""
        expires = self._owner.retention.expires(self.last_used)
        if not self._owner.is_extra(self.name):
            return expires
        return min(self.last_used + IDLE_SECONDS, math.inf if expires is None else expires)

    @property
    def keep_value(self) -> float:
        """Seconds that unloading it is expected to cost."""
        return self._owner.keep_value

    @property
    def busy_seconds(self) -> float:
        """Seconds for which it is expected to be in use, whatever waits; 0 while it is idle."""
        run_seconds = self._owner.worth.costs.run_seconds
        return 0.0 if self.idle or not self.resident else max(self.taken.wait(run_seconds), run_seconds)

    @property
    def turn(self) -> Turn | None:
        """Its turn in memory; None while the model is not loaded."""
        following = _claim(islice(self._waiting, 1))
        worker = self.worker if self.measured else None
        return Turn(self.supervisor.ready_since, worker.ready_seconds, following) if worker else None

    @property
    def claim(self) -> Claim | None:
        """What its load is for; None where no request waits for that."""
        taken = [each for each in self.taken if not each.cancelled]
        return _claim([*taken, *islice(self._waiting, 1)]) if taken else None

    @property
    def has_yielded(self) -> bool:
        """Whether its calls are done, and what waits for it does so until another model has had its place."""
        return bool(self.yields_to) and self.resident and not (self._serving.locked() or self.supervisor.busy)

    def yield_to(self, name: str) -> None:
        """Take no further requests, so that another model gets its place once its calls are done."""
        self.yields_to = name

    def resume(self, name: str) -> None:
        """Take requests again, if it was to give its place to this model."""
        if self.yields_to == name:
            self.yields_to = ""
            self._owner.on_idle(False)

    def serve(self) -> None:
        """Serve the requests that wait, unless that is being done."""
        if self._server is None or self._server.done():
            self._server = asyncio.create_task(self._serve(), name=f"queue of {self.name}")

    async def load(self, request: QueuedRequest) -> None:
        """Load the model of a request that has no call.

        Raises:
            OctaboxError: It cannot be loaded.
        """
        async with self._serving:
            await self.supervisor.run([request])
            self.last_used = time.time()

    async def unload(self) -> bool:
        """End a load, or the worker once it is idle; return whether there was one."""
        was_resident = self.resident
        self.supervisor.loading.stop(_unloading(self.supervisor.name))

        async def unload() -> bool:
            await self.supervisor.drain()  # The outputs of the last call may still be being encoded.
            return await self.supervisor.stop()

        return await run_locked(self._serving, unload, lambda: self._owner.on_idle(True)) or was_resident

    async def sleep(self) -> bool:
        """Move the weights to the host once the model is idle, until the next request; return whether they are there."""
        # One beyond those that keep the model in memory is to be unloaded: they serve the next request.
        if self._owner.is_extra(self.name):
            return False

        async def sleep() -> bool:
            await self.supervisor.drain()
            return self.worker is not None and await self.worker.sleep(MOVE_TIMEOUT)

        return await run_locked(self._serving, sleep, lambda: self._owner.on_idle(False))

    async def close(self) -> None:
        """Stop serving, and end the worker."""
        if self._server:
            self._server.cancel()
            await asyncio.wait({self._server}, timeout=3 * SHUTDOWN_TIMEOUT)
        await self.supervisor.stop()

    async def _serve(self) -> None:
        """Serve requests until none waits, another model is to have the place, or others are to serve the rest."""
        while self._waiting and not self.yields_to:
            async with self._serving:
                if self.yields_to or not (self._waiting and (self.resident or not self._owner.resident)):
                    break
                try:
                    await self.supervisor.run(self.taken.take(self.worker))
                except Exception as raised:  # noqa: BLE001 (whatever it is, it ends these requests alone)
                    self.taken.fail(as_octabox_error(raised, self.supervisor.name))
                finally:
                    self.taken.clear()
                    if not self.resident:  # Its worker has ended by itself, and it has no place to give.
                        self.yields_to = ""
                    self.last_used = time.time()
        self._owner.on_idle(False)


class TakenRequests:
    """The requests that run on one replica: a call, or several that share a batch.

    Args:
        model: Name of the model.
        waiting: The requests that wait for the model.
        on_taken: Called with the first one, when requests were taken.
    """

    def __init__(self, model: str, waiting: WaitingList, on_taken: Callable[[QueuedRequest], None]) -> None:
        self._model, self._waiting, self._on_taken = model, waiting, on_taken
        self._requests: list[QueuedRequest] = []
        #: Adapters of the last call.
        self.adapters: frozenset[str] = frozenset()
        self._since = 0.0  # When they were taken, by `time.perf_counter`.

    def __iter__(self) -> Iterator[QueuedRequest]:
        return iter(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    def wait(self, run_seconds: float) -> float:
        """Return the seconds until they are expected to be done; what is overdue is taken to be so for as long again.

        Args:
            run_seconds: What each is expected to take.
        """
        return abs(run_seconds * len(self) - (time.perf_counter() - self._since)) if self._requests else 0.0

    def take(self, worker: ModelWorker | None) -> Sequence[QueuedRequest]:
        """Take the request that runs next, and those that may share a batch with it.

        Args:
            worker: Knows how many may; None before it is started.
        """
        requests = self._requests = [self._waiting.take()]
        call = requests[0].call
        if self._waiting and call and worker and (limit := worker.batch_limit(call)) > 1:
            requests += self._waiting.take_batch(requests[0], limit)
        self._since = time.perf_counter()
        for request in requests:
            request.timings["queue"] = self._since - request.enqueued_at
        self.adapters = requests[0].adapters
        self._on_taken(requests[0])
        return requests

    def fail(self, error: OctaboxError) -> None:
        """Fail them, since they could not be served; where the machine of the worker was lost, they wait for another one.

        So do background jobs wherever the process that was loading their model has ended.
        """
        log_failure(error, self._model)
        for request in self._requests:
            lost = isinstance(error, WorkerDiedError) and error.lost
            # A load may have been killed because of its memory, and two are enough then; a lost machine has other causes.
            request.workers += request.background and not lost
            again = lost or (request.background and isinstance(error, WorkerDiedError))
            if again and request.restart(error):
                request.workers += lost
                self._waiting.add_again(request)
            else:
                request.finish(error)

    def clear(self) -> None:
        """Forget them, since they were served."""
        self._requests = []


def _claim(requests: Iterable[QueuedRequest]) -> Claim | None:
    """Return what requests of a model claim together; None if there are none."""
    found = list(requests)
    if not found:
        return None
    return Claim(min(each.enqueued_at for each in found), max(each.priority for each in found))


def _unloading(model: str) -> LoadError:
    message = f"The load of model '{model}' was stopped, since the model is being unloaded."
    return LoadError(message, hint="Send the request again to load it.", model=model)
