"""The requests that wait for one model, and the replicas that run them: clients take turns, each replica runs one batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import Any

from octabox.engine.local.processes.liveness import SHUTDOWN_TIMEOUT
from octabox.engine.local.queued_request import MAX_WORKERS, QueuedRequest, as_octabox_error, log_failure
from octabox.engine.local.resident.retention import Retention
from octabox.engine.local.waiting_list import WaitingList
from octabox.engine.ray.autoscale import desired_replicas
from octabox.engine.ray.replica import Replica, ReplicaPool, requested_adapters
from octabox.engine.ray.statuses import merge_statuses
from octabox.errors import OctaboxError, ServerStoppingError, WorkerDiedError
from octabox.types import Event, ModelStatus

#: Seconds until another replica is tried after one had no place, or could not be loaded.
SCALE_UP_DELAY = 10.0

#: Creates a replica by its number.
CreateReplica = Callable[[int, Retention, Callable[[Replica], bool], Callable[[], None]], Replica]


class ReplicatedQueue:
    """The queue of one model.

    Args:
        name: Name of the model.
        create: Creates a replica.
        has_room: Returns whether the cluster has a place for one more replica for a request.
        limit: How many calls may wait.
        maximum: How many replicas there may be; 0 is no limit.
        retention: How long the model stays in memory.
        on_idle: Called when a replica has become idle.
    """

    def __init__(
        self,
        name: str,
        create: CreateReplica,
        has_room: Callable[[QueuedRequest], Coroutine[Any, Any, bool]],
        limit: int,
        maximum: int,
        retention: Retention,
        on_idle: Callable[[], None],
    ) -> None:
        self.name, self.retention, self._maximum = name, retention, maximum
        self._create, self._has_room, self._on_idle = create, has_room, on_idle
        self._waiting = WaitingList(name, limit)
        self._replicas = ReplicaPool(self._add_replica)
        self._tasks: set[asyncio.Task[None]] = set()
        self._scale_up: asyncio.Task[None] | None = None
        self._next_scale_up, self._load_seconds = 0.0, 0.0
        self._closed = False

    async def events(self, request: QueuedRequest) -> AsyncGenerator[Event, None]:
        """Enqueue a request and yield its events; closing the iterator gives up its position, or cancels its call.

        Raises:
            QueueFullError: Too many calls wait.
            OctaboxError: The request has failed.
        """
        if request.call and not request.call.continues:
            self.check_room(request.client)
        self._waiting.add(request)
        self._dispatch()
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
        self._waiting.check_room(client, self._replicas.run_seconds / max(len(self._replicas.resident), 1))

    async def unload(self) -> bool:
        """End all replicas, each after what it runs; return whether there was one."""
        unloaded = await asyncio.gather(*(replica.unload() for replica in self._replicas))
        self.retention.reset()
        return any(unloaded)

    async def close(self) -> None:
        """Fail all requests, and end all replicas."""
        self._closed, error = True, ServerStoppingError(model=self.name)
        for request in [*self._waiting, *(each for replica in self._replicas for each in replica.current)]:
            request.finish(ServerStoppingError(model=self.name))
        self._waiting.clear()
        for replica in self._replicas:
            replica.supervisor.fail_all(error)
        tasks = {*self._tasks, *filter(None, [self._scale_up])}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=3 * SHUTDOWN_TIMEOUT)
        await asyncio.gather(*(replica.supervisor.stop() for replica in self._replicas))

    def status(self) -> ModelStatus | None:
        """Return the status of the model over all of its replicas; None if it is not in memory."""
        return merge_statuses([*self._replicas], waiting=len(self._waiting))

    async def _remove(self, request: QueuedRequest) -> None:
        """Take a request out of the queue, or cancel its call on the replica that has it."""
        if request in self._waiting:
            self._waiting.remove(request)
            self._publish_positions()
        request.cancelled = True
        for replica in self._replicas:
            await replica.supervisor.cancel(request)

    def _requeue(self, requests: Sequence[QueuedRequest]) -> None:
        """Take back requests whose worker or node was lost."""
        for request in requests:
            self._waiting.add_again(request)
        self._dispatch()

    def _dispatch(self) -> None:
        """Send the requests that are next to the replicas that are free, and load another replica where that helps."""
        while self._waiting and not self._closed and (replica := self._replicas.choose(next(iter(self._waiting)))):
            self._serve_with(replica, self._take_next(replica))
        self._publish_positions()
        if self._waiting and not self._closed:
            self._check_scale()

    def _add_replica(self, number: int, is_extra: Callable[[Replica], bool]) -> Replica:
        replica = self._create(number, self.retention, is_extra, self._on_change)
        replica.supervisor.connect(self._requeue)
        return replica

    def _on_change(self) -> None:
        self._dispatch()
        self._on_idle()

    def _take_next(self, replica: Replica) -> list[QueuedRequest]:
        """Take the request that runs next out of the queue, and those that may share a batch with it."""
        requests = [self._waiting.take()]
        if self._waiting and (limit := replica.supervisor.batch_limit(requests[0])) > 1:
            requests += self._waiting.take_batch(requests[0], limit)
        for request in requests:
            request.timings["queue"] = time.perf_counter() - request.enqueued_at
        return requests

    def _serve_with(self, replica: Replica, requests: list[QueuedRequest]) -> None:
        """Serve requests on a replica."""
        replica.current, replica.adapters = requests, requested_adapters(requests[0])
        task = asyncio.create_task(self._serve(replica, requests), name=f"queue of {replica.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, replica: Replica, requests: list[QueuedRequest]) -> None:
        try:
            async with replica.serving:
                await replica.supervisor.run(requests)
        except Exception as raised:  # noqa: BLE001 (whatever it is, it ends these requests alone)
            self._on_failure(as_octabox_error(raised, self.name), requests)
        finally:
            replica.current, replica.last_used = [], time.time()
            self._load_seconds = requests[0].timings.get("load", self._load_seconds)
        self._dispatch()
        self._on_idle()

    def _on_failure(self, error: OctaboxError, requests: list[QueuedRequest]) -> None:
        """Fail requests that could not be served; those whose worker was lost before it had begun are served by another."""
        lost = isinstance(error, WorkerDiedError) and not error.hung
        again = [each for each in requests if lost and not (each.started or each.finished or each.cancelled)]
        again = [each for each in again if each.workers < MAX_WORKERS]
        for request in again:
            request.workers += 1
            self._waiting.add_again(request)
        if len(again) < len(requests):
            log_failure(error, self.name)
        for request in requests:
            if request not in again:
                request.finish(error)

    def _check_scale(self) -> None:
        """Load another replica where the requests that wait would wait longer than that takes."""
        count = len(self._replicas.resident)
        desired = desired_replicas(
            waiting=len(self._waiting),
            replicas=count,
            run_seconds=self._replicas.run_seconds,
            load_seconds=self._load_seconds,
            maximum=self._maximum,
        )
        is_scaling = self._scale_up is not None and not self._scale_up.done()
        if desired > count and not is_scaling and time.monotonic() >= self._next_scale_up and self._replicas.is_warm:
            self._scale_up = asyncio.create_task(self._add_loaded(), name=f"another replica of {self.name}")

    async def _add_loaded(self) -> None:
        """Load one more replica, if a node has a place for it."""
        head = next(iter(self._waiting), None)
        if head is None:
            return
        if not await self._has_room(head):
            self._next_scale_up = time.monotonic() + SCALE_UP_DELAY
            return
        replica = self._replicas.find_unused()
        load = QueuedRequest(head.model, head.pipeline)
        load.workers = MAX_WORKERS  # Nobody waits for it, so it is not tried again.
        replica.current = [load]
        await self._serve(replica, [load])
        if not replica.loaded:
            self._next_scale_up = time.monotonic() + SCALE_UP_DELAY

    def _publish_positions(self) -> None:
        """Send each waiting request how many are ahead of it."""
        self._waiting.publish_positions(ahead=1 if any(each.current for each in self._replicas) else 0)
