"""The part of a queue that concerns its turn in memory, where several models need the same place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice

from octabox.engine.cluster.turns import Claim, Turn
from octabox.engine.local.queued_request import QueuedRequest
from octabox.engine.local.replicas.taken_requests import TakenRequests
from octabox.engine.local.resident.resident_queue import ResidentQueue
from octabox.engine.local.resident.retention import Retention
from octabox.engine.local.supervisor import WorkerSupervisor
from octabox.engine.local.waiting_list import WaitingList


class TurnQueue(ResidentQueue):
    """A queue whose model gives its place to another one between two calls, whatever waits for it.

    Args:
        supervisor: Runs requests on the worker.
        waiting: The requests that wait for the model.
        retention: How long the model stays in memory.
        on_taken: Called when requests were taken.
        on_idle: Called when no request is left, and after an unload, with whether it was one.
    """

    def __init__(
        self,
        supervisor: WorkerSupervisor,
        waiting: WaitingList,
        retention: Retention,
        on_taken: Callable[[QueuedRequest], None],
        on_idle: Callable[[bool], None],
    ) -> None:
        super().__init__(supervisor, retention)
        self.supervisor = supervisor
        #: The requests that run on it.
        self.taken = TakenRequests(supervisor.name, waiting, on_taken)
        #: The model that it gives its place to; empty if there is none.
        self.yields_to = ""
        self._waiting, self._on_idle = waiting, on_idle
        self._serving = asyncio.Lock()

    @property
    def turn(self) -> Turn | None:
        """Its turn; None while the model is not loaded."""
        worker = self.supervisor.worker
        if worker is None or not self.measured:
            return None
        return Turn(self.supervisor.ready_since, worker.ready_seconds, _claim(islice(self._waiting, 1)))

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
            self._on_idle(False)


def _claim(requests: Iterable[QueuedRequest]) -> Claim | None:
    """Return what requests of a model claim together; None if there are none."""
    found = list(requests)
    if not found:
        return None
    return Claim(min(each.enqueued_at for each in found), max(each.call.priority if each.call else 0 for each in found))
