"""The requests that wait for one model: clients take turns, and each has its share of the places."""

from __future__ import annotations

import time
from bisect import insort
from collections import defaultdict
from collections.abc import Iterator, Sequence

from octabox.engine.local.queue.queued_request import QueuedRequest
from octabox.errors import QueueFullError
from octabox.types import Progress

#: How many waiting requests are searched for members of a batch.
LOOK_AHEAD = 64

#: Seconds after which a waiting request is not passed by members of a batch any more.
MAX_PASSED_AGE = 30.0


class WaitingList:
    """Requests in the order in which they will run.

    Args:
        model: Name of the model.
        limit: How many calls may wait.
    """

    def __init__(self, model: str, limit: int) -> None:
        self._model, self._limit = model, limit
        self._requests: list[QueuedRequest] = []
        # By priority: a turn of a higher one must not count as turns for those that have waited meanwhile.
        self._turns: defaultdict[int, float] = defaultdict(float)
        self._next_free = 0.0

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[QueuedRequest]:
        return iter(self._requests)

    def check_room(self, client: str, run_seconds: float) -> None:
        """Check that one more call of a client may wait.

        Args:
            client: The client.
            run_seconds: How long a call takes.

        Raises:
            QueueFullError: Too many calls wait.
        """
        if not _has_room(self._requests, client, self._limit):
            raise QueueFullError(
                f"The queue of model '{self._model}' is full: {len(self)} requests are waiting.",
                retry_after=self._reserve_time(run_seconds),
                hint="Try again later, or raise `queue_size`.",
                model=self._model,
            )

    def add(self, request: QueuedRequest) -> None:
        """Add a request with its turn; a call that continues another one is next."""
        if request.call and request.call.continues:
            request.turn = -1.0
        else:
            same = [each for each in self._requests if each.priority == request.priority]
            turns = [each.turn for each in same if each.client == request.client]
            request.turn = max([self._turns[request.priority], *turns]) + 1
        insort(self._requests, request, key=lambda each: each.rank)

    def add_again(self, request: QueuedRequest) -> None:
        """Add a request that was taken before; it is ahead of all that were not."""
        request.turn = -2.0
        insort(self._requests, request, key=lambda each: each.rank)

    def take(self) -> QueuedRequest:
        """Remove the request that is next, and return it."""
        request = self._requests.pop(0)
        self._turns[request.priority] = max(self._turns[request.priority], request.turn)
        return request

    def take_batch(self, first: QueuedRequest, limit: int) -> list[QueuedRequest]:
        """Remove the requests that may share a batch with the one that is next, and return them, in order.

        Args:
            first: The request that is next, which was taken.
            limit: How many runs the batch may have.
        """
        found: list[QueuedRequest] = []
        runs = _count_runs(first)
        oldest = time.perf_counter() - MAX_PASSED_AGE
        for request in self._requests[:LOOK_AHEAD]:
            if runs >= limit:
                break
            if request.may_join(first) and runs + _count_runs(request) <= limit:
                found.append(request)
                runs += _count_runs(request)
            elif request.enqueued_at < oldest:
                # One that has waited that long is not passed any more.
                break
        for request in found:
            self._requests.remove(request)
        return found

    def remove(self, request: QueuedRequest) -> None:
        """Remove a request."""
        self._requests.remove(request)

    def clear(self) -> None:
        """Remove all requests."""
        self._requests.clear()

    def publish_positions(self, ahead: int) -> None:
        """Send each request how many are ahead of it.

        Args:
            ahead: How many are ahead of the first one.
        """
        for position, request in enumerate(self._requests, start=ahead):
            request.publish(Progress("queued", position=position))

    def _reserve_time(self, seconds: float) -> float:
        """Return in how many seconds there will be room; each refused request has another time, one run after the last."""
        now = time.monotonic()
        latest = now + seconds * 2 * max(self._limit, 1)
        self._next_free = min(max(self._next_free, now) + seconds, latest)
        return max(1.0, self._next_free - now)


def _count_runs(request: QueuedRequest) -> int:
    return len(request.call.runs) if request.call else 0


def _has_room(waiting: Sequence[QueuedRequest], client: str, limit: int) -> bool:
    """Return whether one more call of a client may wait.

    A client that has less than its share may exceed the limit, so that no other client can fill the queue.
    """
    if len(waiting) < limit:
        return True
    clients = {each.client for each in waiting} | {client}
    share = limit // len(clients)
    own = sum(each.client == client for each in waiting)
    return len(clients) > 1 and own < max(share, 1) and len(waiting) < 2 * limit
