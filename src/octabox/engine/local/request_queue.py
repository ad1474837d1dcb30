"""The requests that wait for one model: clients take turns, and each replica of the model runs one call at a time."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from octabox.engine.local.queue.queued_request import QueuedRequest
from octabox.engine.local.queue.waiting_list import WaitingList
from octabox.engine.local.replicas.local_replica import LocalReplica
from octabox.engine.local.replicas.replica_set import MAX_REPLICAS, ModelWorth, ReplicaRoom, ReplicaSet
from octabox.engine.local.residency import Residency
from octabox.engine.local.resident.retention import Retention
from octabox.engine.local.supervisor import WorkerSupervisor
from octabox.errors import ServerStoppingError
from octabox.memory_state import ReplicaState
from octabox.types import Event, ModelStatus

#: Creates the supervisor of a replica, by its name and what returns the devices that it must not be on.
CreateSupervisor = Callable[[str, Callable[[], Collection[str]]], WorkerSupervisor]


class RequestQueue:
    """The queue of one model.

    Args:
        name: Name of the model.
        create: Creates the supervisors of its replicas.
        limit: How many calls may wait.
        residency: The models in memory.
        retention: How long the model stays in memory.
        room: Knows whether another replica has room; by default, the devices of this machine.
        maximum: How many replicas there may be; 0 is no limit.
    """

    def __init__(
        self,
        name: str,
        create: CreateSupervisor,
        limit: int,
        residency: Residency,
        retention: Retention,
        room: ReplicaRoom | None = None,
        maximum: int = 0,
    ) -> None:
        self.name, self.retention = name, retention
        self._create_supervisor, self._residency = create, residency
        self._waiting = WaitingList(name, limit)
        #: What is learned of the model.
        self.worth, room = ModelWorth(), room or residency.placement
        self._replicas = ReplicaSet(self._create_replica, room, self._waiting, self.worth, maximum or MAX_REPLICAS)

    @property
    def waiting(self) -> int:
        """How many requests wait: for others, or for a place in memory."""
        return len(self._waiting) + sum(len(each.taken) for each in self._replicas if not each.resident)

    async def events(self, request: QueuedRequest) -> AsyncGenerator[Event, None]:
        """Enqueue a request and yield its events; closing the iterator gives up its position, or cancels its call.

        Raises:
            QueueFullError: Too many calls wait.
            OctaboxError: The request has failed.
        """
        if request.call and not request.call.continues:
            self.check_room(request.client)
        self.worth.note_request()
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
        self._waiting.check_room(client, self._replicas.run_seconds)

    async def unload(self) -> bool:
        """End the loads, or the workers once they are idle; return whether there was one."""
        unloaded = await asyncio.gather(*(each.unload() for each in self._replicas))
        self.retention.reset()
        return any(unloaded)

    async def close(self) -> None:
        """Fail all requests, and end the workers."""
        error = ServerStoppingError(model=self.name)
        for request in [*self._waiting, *(each for replica in self._replicas for each in replica.taken)]:
            request.finish(error)
        self._waiting.clear()
        for replica in self._replicas:
            replica.supervisor.fail_all(error)
        await self._replicas.close()

    def status(self) -> ModelStatus | None:
        """Return the status of the model, with that of each replica where there are several; None if it is not in memory."""
        found = [
            status for each in self._replicas if (status := _status(each, len(self._waiting), self.retention.names))
        ]
        return _joined(found) if len(found) > 1 else found[0] if found else None

    @property
    def resident(self) -> bool:
        """Whether the model is in memory, or being loaded."""
        return bool(self._replicas.resident)

    def is_extra(self, name: str) -> bool:
        """Return whether others keep the model in memory, so that this replica may be unloaded."""
        return name in self._replicas.extra

    @property
    def keep_value(self) -> float:
        """Seconds that unloading a replica is expected to cost."""
        return self.worth.of_replica(len(self._replicas.resident))

    def on_taken(self, request: QueuedRequest) -> None:
        """Report the new positions, and add a replica where the requests that are left need it."""
        self._publish_positions()
        self._replicas.scale(request)
        for replica in self._replicas:
            self._residency.notify_taken(replica)

    def on_idle(self, unloaded: bool) -> None:
        """Forget what requests have set for a model that was unloaded; let a replica serve what still waits."""
        if unloaded and not self.resident:
            self.retention.reset()
        self._residency.notify_freed(*(each.name for each in self._replicas))
        asyncio.get_running_loop().call_soon(self._wake)

    def _create_replica(self, number: int, occupied: Callable[[], Collection[str]]) -> LocalReplica:
        name = self.name if number == 1 else f"{self.name} (replica {number})"
        supervisor = self._create_supervisor(name, occupied)
        # The first replica is made before the set of them is known here.
        supervisor.connect(self._requeue, lambda *loaded: self._replicas.on_loaded(*loaded), self.worth.note_run)  # noqa: PLW0108
        replica = LocalReplica(supervisor, self._waiting, self)
        self._residency.add(replica)
        return replica

    def _insert(self, insert: Callable[[QueuedRequest], None], request: QueuedRequest) -> None:
        """Let a request wait, and let a replica serve it."""
        insert(request)
        self._publish_positions()
        self._replicas.wake(request)
        self._replicas.scale(request)

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
        for replica in self._replicas:
            await replica.supervisor.cancel(request)

    def _wake(self) -> None:
        """Let a replica serve the requests that wait, if there are any: the one that served them may have ended."""
        for request in self._waiting:
            self._replicas.wake(request)
            break

    def _publish_positions(self) -> None:
        """Send each waiting request how many are ahead of it."""
        self._waiting.publish_positions(ahead=1 if any(each.taken for each in self._replicas) else 0)


def _status(replica: LocalReplica, waiting: int, names: tuple[str, ...]) -> ModelStatus | None:
    """Return the status of a replica; None if it is not in memory."""
    worker, busy = replica.worker, len(replica.taken) > 0 or replica.supervisor.busy
    status = worker.status(waiting=waiting, busy=busy) if worker else None
    expires = replica.expires if replica.idle else None
    return status and replace(
        status,
        names=names,
        last_used=replica.last_used,
        time_left=None if expires is None else max(0.0, expires - time.time()),
        pinned=replica.pinned,
    )


def _joined(found: Sequence[ModelStatus]) -> ModelStatus:
    """Return the status of a model of several replicas."""
    # The one that stays longest keeps the model in memory.
    kept = max(
        [each for each in found if each.state != "loading"] or found,
        key=lambda each: math.inf if each.time_left is None else each.time_left,
    )
    return replace(
        kept,
        state=next((each.state for each in found if each.state == "busy"), kept.state),
        pinned=any(each.pinned for each in found),
        memory=_sum(each.memory for each in found),
        allocated=_sum(each.allocated for each in found),
        replicas=tuple(ReplicaState(each.device, each.state, each.pid, each.memory) for each in found),
    )


def _sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of bytes by place."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)
