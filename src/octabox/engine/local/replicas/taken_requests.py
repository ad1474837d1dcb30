"""The requests that a replica has taken out of the queue: a call, or several that share a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from octabox.engine.local.model_worker import ModelWorker
from octabox.engine.local.queued_request import QueuedRequest, log_failure
from octabox.engine.local.waiting_list import WaitingList
from octabox.errors import OctaboxError, WorkerDiedError


class TakenRequests:
    """The requests that run on one replica.

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
        #: When they were taken, by `time.perf_counter`.
        self.since = 0.0

    def __iter__(self) -> Iterator[QueuedRequest]:
        return iter(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    def take(self, worker: ModelWorker | None) -> Sequence[QueuedRequest]:
        """Take the request that runs next, and those that may share a batch with it.

        Args:
            worker: Knows how many may; None before it is started.
        """
        requests = self._requests = [self._waiting.take()]
        call = requests[0].call
        if self._waiting and call and worker and (limit := worker.batch_limit(call)) > 1:
            requests += self._waiting.take_batch(requests[0], limit)
        self.since = time.perf_counter()
        for request in requests:
            request.timings["queue"] = self.since - request.enqueued_at
        self.adapters = requests[0].adapters
        self._on_taken(requests[0])
        return requests

    def fail(self, error: OctaboxError) -> None:
        """Fail them, since they could not be served; where the machine of the worker was lost, they wait for another one."""
        log_failure(error, self._model)
        lost = isinstance(error, WorkerDiedError) and error.lost
        for request in self._requests:
            if lost and request.restart(error):
                request.workers += 1
                self._waiting.add_again(request)
            else:
                request.finish(error)

    def clear(self) -> None:
        """Forget them, since they were served."""
        self._requests = []
