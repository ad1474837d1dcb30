"""One replica of a model: it takes waiting requests, and runs them on its worker one call or batch at a time."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from octabox.engine.cluster.autoscaling import IDLE_SECONDS
from octabox.engine.local.processes.liveness import SHUTDOWN_TIMEOUT
from octabox.engine.local.queued_request import QueuedRequest, as_octabox_error
from octabox.engine.local.replicas.turn_queue import TurnQueue
from octabox.engine.local.resident.retention import Retention
from octabox.engine.local.supervisor import WorkerSupervisor
from octabox.engine.local.waiting_list import WaitingList
from octabox.errors import LoadError
from octabox.types import ModelStatus

#: Seconds in which a worker must have moved its weights to the host.
MOVE_TIMEOUT = 120.0


class LocalReplica(TurnQueue):
    """A replica of a model, which shares the waiting requests with the others.

    Args:
        supervisor: Runs requests on the worker.
        waiting: The requests that wait for the model.
        retention: How long the model stays in memory.
        on_taken: Called when requests were taken.
        on_idle: Called when no request is left, and after an unload, with whether it was one.
        is_needed: Returns whether it is to load the model for requests that wait; others may have it.
        is_extra: Returns whether others keep the model in memory.
        worth: Returns what unloading it costs, by the seconds of its load and of its last call.
    """

    def __init__(
        self,
        supervisor: WorkerSupervisor,
        waiting: WaitingList,
        retention: Retention,
        on_taken: Callable[[QueuedRequest], None],
        on_idle: Callable[[bool], None],
        is_needed: Callable[[], bool] = lambda: True,
        is_extra: Callable[[LocalReplica], bool] = lambda _: False,
        worth: Callable[[float, float], float] = lambda load, _: load,
    ) -> None:
        super().__init__(supervisor, waiting, retention, on_taken, on_idle)
        self._is_needed, self._is_extra, self._worth = is_needed, is_extra, worth
        self._server: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether the model is in memory, and no request waits for it or runs on it."""
        return self.resident and not (self._serving.locked() or self.supervisor.busy or self._waiting)

    @property
    def pinned(self) -> bool:
        """Whether it is never unloaded for another model, as one that alone keeps a pinned model in memory is not."""
        return super().pinned and not self._is_extra(self)

    @property
    def adapters(self) -> frozenset[str]:
        """The adapters of its last call."""
        return self.taken.adapters

    @property
    def keep_value(self) -> float:
        """Seconds that unloading it is expected to cost."""
        return self._worth(self.load_seconds, self.supervisor.run_seconds)

    @property
    def wait(self) -> float:
        """Seconds until it is expected to be free for the next request; what is overdue is taken to be so for as long again."""
        expected = self.supervisor.run_seconds * len(self.taken)
        return abs(expected - (time.perf_counter() - self.taken.since)) if self.taken else 0.0

    @property
    def busy_seconds(self) -> float:
        """Seconds for which it is expected to be in use, whatever waits; 0 while it is idle."""
        return 0.0 if self.idle or not self.resident else max(self.wait, self.supervisor.run_seconds)

    @property
    def expires(self) -> float | None:
        """When it is unloaded if no request arrives; one of several is not kept for long."""
        expires = super().expires
        if not self._is_extra(self):
            return expires
        return min(self.last_used + IDLE_SECONDS, math.inf if expires is None else expires)

    @property
    def serving(self) -> bool:
        """Whether it takes the requests that wait, or is loading the model."""
        return self._serving.locked() or not (self._server is None or self._server.done())

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
        async with self._serving:
            await self.supervisor.drain()  # The outputs of the last call may still be being encoded.
            was_resident = was_resident or self.resident
            await self.supervisor.stop()
        self._on_idle(True)
        return was_resident

    async def sleep(self) -> bool:
        """Move the weights to the host once the model is idle, until the next request; return whether they are there.

        Others that keep the model in memory serve the next request, so that a replica beyond them is to be unloaded.
        """
        if self._is_extra(self):
            return False
        async with self._serving:
            await self.supervisor.drain()
            slept = await self.supervisor.sleep(MOVE_TIMEOUT)
        self._on_idle(False)
        return slept

    async def close(self) -> None:
        """Stop serving, and end the worker."""
        if self._server:
            self._server.cancel()
            await asyncio.wait({self._server}, timeout=3 * SHUTDOWN_TIMEOUT)
        await self.supervisor.stop()

    def status(self, waiting: int) -> ModelStatus | None:
        """Return the status of the replica; None if it is not in memory.

        Args:
            waiting: How many requests wait for the model.
        """
        worker, busy = self.supervisor.worker, len(self.taken) > 0 or self.supervisor.busy
        status = worker.status(waiting=waiting, busy=busy) if worker else None
        return status and self.with_retention(status)

    @property
    def _yields(self) -> bool:
        """Whether it takes no requests until another model, which may need further places as well, has had its place."""
        return bool(self.yields_to)

    async def _serve(self) -> None:
        """Serve requests until none waits, or another model is to have the place.

        Where the worker has ended, replicas in memory serve the rest.
        """
        while self._waiting and not self._yields:
            async with self._serving:
                if self._yields or not (self._waiting and (self.resident or self._is_needed())):
                    break
                try:
                    await self.supervisor.run(self.taken.take(self.supervisor.worker))
                except Exception as raised:  # noqa: BLE001 (whatever it is, it ends these requests alone)
                    self.taken.fail(as_octabox_error(raised, self.supervisor.name))
                finally:
                    self.taken.clear()
                    if not self.resident:  # Its worker has ended by itself, and it has no place to give.
                        self.yields_to = ""
                    self.last_used = time.time()
        self._on_idle(False)


def _unloading(model: str) -> LoadError:
    message = f"The load of model '{model}' was stopped, since the model is being unloaded."
    return LoadError(message, hint="Send the request again to load it.", model=model)
