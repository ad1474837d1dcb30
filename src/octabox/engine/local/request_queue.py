"""The requests that wait for one model: clients take turns, one call runs at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence

from octabox.engine.local.processes.liveness import SHUTDOWN_TIMEOUT
from octabox.engine.local.queued_request import QueuedRequest, as_octabox_error, log_failure
from octabox.engine.local.resident.resident_queue import ResidentQueue
from octabox.engine.local.resident.retention import Retention
from octabox.engine.local.supervisor import WorkerSupervisor
from octabox.engine.local.waiting_list import WaitingList
from octabox.errors import LoadError, ServerStoppingError
from octabox.types import Event, ModelStatus


class RequestQueue(ResidentQueue):
    """The queue of one model.

    Args:
        supervisor: Runs the requests on the model's worker.
        limit: How many calls may wait.
        on_idle: Called when no request is left, and after an unload.
        retention: How long the model stays in memory.
    """

    def __init__(
        self,
        supervisor: WorkerSupervisor,
        limit: int,
        on_idle: Callable[[], None],
        retention: Retention | None = None,
    ) -> None:
        super().__init__(supervisor, retention or Retention())
        self._supervisor, self._on_idle = supervisor, on_idle
        self._waiting = WaitingList(supervisor.name, limit)
        self._current: list[QueuedRequest] = []
        self._serving = asyncio.Lock()
        self._server: asyncio.Task[None] | None = None
        supervisor.connect(self._requeue)

    @property
    def idle(self) -> bool:
        """Whether the model is in memory, and no request waits for it or runs on it."""
        return self.resident and not (self._serving.locked() or self._supervisor.busy or self._waiting)

    async def events(self, request: QueuedRequest) -> AsyncGenerator[Event, None]:
        """Enqueue a request and yield its events; closing the iterator gives up its position, or cancels its call.

        Raises:
            QueueFullError: Too many calls wait.
            OctaboxError: The request has failed.
        """
        if request.call and not request.call.continues:
            self.check_room(request.client)
        self._insert(self._waiting.add, request)
        try:
            while (event := await request.next_event()) is not None:
                yield event
        finally:
            await self._remove(request)

    def check_room(self, client: str) -> None:
        """Check that one more call of a client may wait.

        Raises:
            QueueFullError: Too many calls wait.
        """
        self._waiting.check_room(client, self._supervisor.run_seconds)

    async def unload(self) -> bool:
        """End a load, or the worker once it is idle; return whether there was one."""
        was_resident = self.resident
        self._supervisor.loading.stop(_unloading(self.name))
        async with self._serving:
            await self._supervisor.drain()  # The outputs of the last call may still be being encoded.
            was_resident = was_resident or self.resident
            await self._supervisor.stop()
        self.retention.reset()
        self._on_idle()
        return was_resident

    async def close(self) -> None:
        """Fail all requests, and end the worker."""
        error = ServerStoppingError(model=self.name)
        for request in [*self._waiting, *self._current]:
            request.finish(error)
        self._waiting.clear()
        self._supervisor.fail_all(error)
        if self._server:
            self._server.cancel()
            await asyncio.wait({self._server}, timeout=3 * SHUTDOWN_TIMEOUT)
        await self._supervisor.stop()

    def status(self) -> ModelStatus | None:
        """Return the status of the model; None if it is not in memory."""
        status = self._supervisor.status(waiting=len(self._waiting), busy=bool(self._current))
        return status and self.with_retention(status)

    def _insert(self, insert: Callable[[QueuedRequest], None], request: QueuedRequest) -> None:
        """Let a request wait, and serve the queue unless that is being done."""
        insert(request)
        self._publish_positions()
        if self._server is None or self._server.done():
            self._server = asyncio.create_task(self._serve(), name=f"queue of {self.name}")

    def _requeue(self, requests: Sequence[QueuedRequest]) -> None:
        """Take back requests whose worker has ended."""
        for request in requests:
            self._insert(self._waiting.add_again, request)

    async def _remove(self, request: QueuedRequest) -> None:
        """Take a request out of the queue, or cancel its call."""
        if request in self._waiting:
            self._waiting.remove(request)
            self._publish_positions()
        request.cancelled = True
        await self._supervisor.cancel(request)

    def _publish_positions(self) -> None:
        """Send each waiting request how many are ahead of it."""
        self._waiting.publish_positions(ahead=1 if self._current else 0)

    async def _serve(self) -> None:
        """Serve requests until none waits."""
        while self._waiting:
            async with self._serving:
                if not self._waiting:
                    break
                requests = self._take_next()
                try:
                    await self._supervisor.run(requests)
                except Exception as raised:  # noqa: BLE001 (whatever it is, it ends these requests alone)
                    error = as_octabox_error(raised, self.name)
                    log_failure(error, self.name)
                    for request in requests:
                        request.finish(error)
                finally:
                    self._current = []
                    self.last_used = time.time()
        self._on_idle()

    def _take_next(self) -> list[QueuedRequest]:
        """Take the request that runs next out of the queue, and those that may share a batch with it."""
        requests = self._current = [self._waiting.take()]
        if self._waiting and (limit := self._supervisor.batch_limit(requests[0])) > 1:
            requests += self._waiting.take_batch(requests[0], limit)
        for request in requests:
            request.timings["queue"] = time.perf_counter() - request.enqueued_at
        self._publish_positions()
        return requests


def _unloading(model: str) -> LoadError:
    message = f"The load of model '{model}' was stopped, since the model is being unloaded."
    return LoadError(message, hint="Send the request again to load it.", model=model)
