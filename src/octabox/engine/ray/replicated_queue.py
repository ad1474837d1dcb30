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


class ScaleUp:
    """Loads one more replica of a model where its calls wait longer than that takes.

    Args:
        replicas: The replicas.
        has_room: Returns whether the cluster has a place for one more replica for a request.
        maximum: How many replicas there may be; 0 is no limit.
        serve: Serves requests on a replica.
    """

    def __init__(
        self,
        replicas: ReplicaPool,
        has_room: Callable[[QueuedRequest], Coroutine[Any, Any, bool]],
        maximum: int,
        serve: Callable[[Replica, list[QueuedRequest]], Coroutine[Any, Any, None]],
    ) -> None:
        self._replicas, self._has_room, self._maximum, self._serve = replicas, has_room, maximum, serve
        self._load_seconds, self._next = 0.0, 0.0
        #: The load that is being done, if any.
        self.tasks: list[asyncio.Task[None]] = []

    def note_load(self, request: QueuedRequest) -> None:
        """Note how long the load took that a request has waited for, if it has."""
        self._load_seconds = request.timings.get("load", self._load_seconds)

    def check(self, waiting: Sequence[QueuedRequest]) -> None:
        """Load another replica where these requests would wait longer than that takes."""
        count = len(self._replicas.resident)
        desired = desired_replicas(
            waiting=len(waiting),
            replicas=count,
            run_seconds=self._replicas.run_seconds,
            load_seconds=self._load_seconds,
            maximum=self._maximum,
        )
        self.tasks = [task for task in self.tasks if not task.done()]
        if desired > count and not self.tasks and time.monotonic() >= self._next and self._replicas.is_warm:
            self.tasks = [
                asyncio.create_task(self._load(waiting[0]), name=f"another replica of {waiting[0].model.name}")
            ]

    async def _load(self, request: QueuedRequest) -> None:
        """Load one more replica for a request, if a node has a place for it."""
        if not await self._has_room(request):
            self._next = time.monotonic() + SCALE_UP_DELAY
            return
        replica = self._replicas.find_unused()
        load = QueuedRequest(request.model, request.pipeline)
        load.workers = MAX_WORKERS  # Nobody waits for it, so it is not tried again.
        replica.current = [load]
        await self._serve(replica, [load])
        if not replica.loaded:
            self._next = time.monotonic() + SCALE_UP_DELAY


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
        self.name, self.retention = name, retention
        self._create, self._on_idle = create, on_idle
        self._waiting, self._closed = WaitingList(name, limit), False
        self._replicas = ReplicaPool(self._add_replica)
        self._tasks: set[asyncio.Task[None]] = set()
        self._scale_up = ScaleUp(self._replicas, has_room, maximum, self._serve)

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
        tasks = {*self._tasks, *self._scale_up.tasks}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=3 * SHUTDOWN_TIMEOUT) if tasks else None
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
            self._scale_up.check([*self._waiting])

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
        if self._waiting and (limit := replica.batch_limit(requests[0])) > 1:
            requests += self._waiting.take_batch(requests[0], limit)
        for request in requests:
            request.timings["queue"] = time.perf_counter() - request.enqueued_at
        return requests

    def _serve_with(self, replica: Replica, requests: list[QueuedRequest]) -> None:
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
            self._scale_up.note_load(requests[0])
        self._dispatch()
        self._on_idle()

    def _on_failure(self, error: OctaboxError, requests: list[QueuedRequest]) -> None:
        """Fail requests that could not be served; those whose worker was lost before it had begun are served by another."""
        again = [each for each in requests if may_run_elsewhere(each, error)]
        for request in again:
            request.workers += 1
            self._waiting.add_again(request)
        if len(again) < len(requests):
            log_failure(error, self.name)
        for request in set(requests).difference(again):
            request.finish(error)

    def _publish_positions(self) -> None:
        self._waiting.publish_positions(ahead=1 if any(each.current for each in self._replicas) else 0)


def may_run_elsewhere(request: QueuedRequest, error: OctaboxError) -> bool:
    """Return whether a request that could not be served is sent to another replica: its worker was lost before it began."""
    lost = isinstance(error, WorkerDiedError) and not error.hung
    return lost and not (request.started or request.finished or request.cancelled) and request.workers < MAX_WORKERS
