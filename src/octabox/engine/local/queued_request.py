"""A request in the queue of a model, and the calls that its worker has been sent."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.engine.batches.keys import batch_key
from octabox.engine.protocol import Call
from octabox.error_copies import copy_error
from octabox.errors import (
    DeviceError,
    GenerationCancelledError,
    GenerationError,
    NotFoundError,
    OctaboxError,
    RequestError,
    WorkerDiedError,
)
from octabox.types import Event, Generation, Progress

logger = logging.getLogger("octabox.engine")

#: Errors that are not logged as failures: a wrong or cancelled request, and the end of a worker, which is logged itself.
NOT_LOGGED = (RequestError, NotFoundError, GenerationCancelledError, WorkerDiedError)


#: How many workers a call is sent to, where each ends before it has finished the call.
MAX_WORKERS = 2


@dataclass(eq=False)
class QueuedRequest:
    """A request in the queue of a model: to run a call, or only to load the model.

    Args:
        model: Configuration of the model.
        pipeline: Diffusers class to load it as.
        call: What to run; None only loads the model.
        cancelled: Whether the caller has left.
        started: Whether a worker has started the call.
        finished: Whether the outcome is known.
        enqueued_at: When it entered the queue, by `time.perf_counter`.
        timings: Seconds of its phases on the server.
        workers: How many workers its call has been sent to.
        previewed: Whether the caller has received a part of the result.
        warnings: Warnings to add to its result.
        turn: Its turn: those of a client follow each other, and of requests with the same turn the first one is next.
        sent_id: The id of its call in the messages to and from its worker.
    """

    model: ModelConfig
    pipeline: str
    call: Call | None = None
    cancelled: bool = False
    started: bool = False
    finished: bool = False
    enqueued_at: float = field(default_factory=time.perf_counter)
    timings: dict[str, float] = field(default_factory=dict)
    workers: int = 0
    previewed: bool = False
    warnings: tuple[str, ...] = ()
    turn: float = 0.0
    sent_id: str = ""
    _batch_key: tuple[str | None] | None = None
    _events: asyncio.Queue[Event | OctaboxError | None] = field(default_factory=asyncio.Queue)

    @property
    def client(self) -> str:
        """The client of its call; empty for a load."""
        return self.call.client if self.call else ""

    @property
    def priority(self) -> int:
        """The priority of its call; 0 for a load."""
        return self.call.priority if self.call else 0

    @property
    def background(self) -> bool:
        """Whether its call is of a background job."""
        return self.call is not None and self.call.background

    @property
    def rank(self) -> tuple[bool, int, float]:
        """Its place among the requests that wait: what continues or was taken before, then by priority, then by turn."""
        return (self.turn >= 0, -self.priority if self.turn >= 0 else 0, self.turn)

    @property
    def adapters(self) -> frozenset[str]:
        """The adapters that its call applies, and their weights, as text; none for a load."""
        applied = (self.call.runs[0].adapters if self.call and self.call.runs else None) or ()
        return frozenset(map(repr, applied))

    def may_join(self, other: QueuedRequest) -> bool:
        """Return whether its call may be in one batch with that of another request."""
        if self.call is None or other.call is None or self.cancelled:
            return False
        return (
            self.batch_key is not None
            and (self.batch_key, self.pipeline) == (other.batch_key, other.pipeline)
            and self.model == other.model
        )

    @property
    def batch_key(self) -> str | None:
        """What calls of a batch have in common; None if its call may be in none."""
        if self._batch_key is None and self.call is not None:
            self._batch_key = (batch_key(self.call, load_catalog().pipeline(self.call.runs_as)),)
        return self._batch_key[0] if self._batch_key else None

    def publish(self, event: Event) -> None:
        """Send an event to the caller."""
        self.previewed = self.previewed or (isinstance(event, Progress) and event.preview is not None)
        self._events.put_nowait(event)

    def finish(self, outcome: Generation | OctaboxError | None = None) -> None:
        """End the request with its result, its own copy of an error or, for a load, nothing; the first outcome counts."""
        if self.finished:
            return
        self.finished = True
        if isinstance(outcome, Generation):
            own = replace(outcome, id=self.call.id if self.call else outcome.id)
            warnings = (*outcome.warnings, *self.warnings)
            self._events.put_nowait(replace(own, timings={**self.timings, **outcome.timings}, warnings=warnings))
        self._events.put_nowait(copy_error(outcome) if isinstance(outcome, OctaboxError) else None)

    def restart(self, error: OctaboxError) -> bool:
        """Prepare to be sent to another worker after the end of the first one; return whether that makes sense.

        A call that ends each worker, as one that needs more memory than there is, must not end more than two. One that a
        worker has hung in would take as long again, and a caller must not receive the same part of a result twice; neither
        matters to a background job, which nobody waits for and whose followers read its events by their ids.

        Args:
            error: How the worker ended.
        """
        if self.cancelled or self.finished or self.workers >= MAX_WORKERS:
            return False
        if self.started:
            if not isinstance(error, WorkerDiedError) or ((self.previewed or error.hung) and not self.background):
                return False
            self.warnings = (*self.warnings, f"{error.message} The request was run again.")
        self.started = False
        return True

    async def next_event(self) -> Event | None:
        """Wait for the next event; return None after the last one.

        Raises:
            OctaboxError: The request has failed.
        """
        event = await self._events.get()
        if isinstance(event, OctaboxError):
            raise event
        return event


class SentCalls:
    """The calls that the worker of a model has been sent: the one that runs, and those whose outputs are being encoded.

    Args:
        model: Name of the model.
        on_finished: Called when no call is left.
    """

    def __init__(self, model: str, on_finished: Callable[[], None]) -> None:
        self._model, self._on_finished = model, on_finished
        self._requests: dict[str, QueuedRequest] = {}
        self._running: set[str] = set()
        #: Set while the model is free for the next call, and while no call is left.
        self.run_finished, self.all_finished = asyncio.Event(), asyncio.Event()
        self.all_finished.set()

    def __contains__(self, request: QueuedRequest) -> bool:
        return self._requests.get(request.sent_id) is request

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, requests: Sequence[QueuedRequest]) -> tuple[Call, ...]:
        """Add requests whose calls are about to be sent together, and return the calls with the ids that they are sent with."""
        calls = []
        for request in requests:
            if request.call:
                request.workers += 1
                request.sent_id = self._free_id(request.call.id)
                self._requests[request.sent_id] = request
                is_own = request.sent_id == request.call.id
                calls.append(request.call if is_own else replace(request.call, id=request.sent_id))
        self._running = {call.id for call in calls}
        self.all_finished.clear()
        self.run_finished.clear()
        return tuple(calls)

    def start(self, call_id: str) -> None:
        """Mark a call as started by the worker."""
        if request := self._requests.get(call_id):
            request.started = True

    def finish_run(self, call_id: str) -> None:
        """Mark the model as free for the next call, where it is this call that ran last."""
        if call_id in self._running:
            self._running.discard(call_id)
            if not self._running:
                self.run_finished.set()

    def publish(self, call_id: str, event: Event) -> None:
        """Send an event to the caller of a call."""
        if request := self._requests.get(call_id):
            request.publish(event)

    def finish(self, call_id: str, outcome: Generation | OctaboxError) -> None:
        """End a call with its outcome."""
        if request := self._remove(call_id):
            if isinstance(outcome, OctaboxError):
                log_failure(outcome, self._model)
            request.finish(outcome)
        self.finish_run(call_id)

    def end(self, error: OctaboxError) -> list[QueuedRequest]:
        """Take out all calls, since the worker has ended: fail those that must not run again, and return the others.

        Args:
            error: How the worker ended.
        """
        again = []
        for call_id, request in list(self._requests.items()):
            if request.restart(error):
                self._remove(call_id)
                again.append(request)
            else:
                self.finish(call_id, error if request.started else _never_started(self._model, request.workers))
        self.run_finished.set()
        return again

    def discard(self, requests: Sequence[QueuedRequest]) -> None:
        """Remove calls that no worker will start, so that nothing waits for their end."""
        for request in requests:
            if request in self and not request.started:
                self._remove(request.sent_id)

    def fail_all(self, error: OctaboxError) -> None:
        """Fail all calls."""
        for call_id, request in list(self._requests.items()):
            request.finish(error)
            self._remove(call_id)

    def _free_id(self, call_id: str) -> str:
        """Return the id of a call, or another one while the worker has a call with it, whose caller has left."""
        others = (f"{call_id} ({number})" for number in itertools.count(2))
        return next(each for each in itertools.chain([call_id], others) if each not in self._requests)

    def _remove(self, call_id: str) -> QueuedRequest | None:
        request = self._requests.pop(call_id, None)
        if request and not self._requests:
            self.all_finished.set()
            self._on_finished()
        return request


def select_calls(requests: Sequence[QueuedRequest]) -> list[QueuedRequest]:
    """Return the requests whose calls are to be run; those that only load their model are finished."""
    for request in requests:
        if request.call is None:
            request.finish()
    return [request for request in requests if not (request.cancelled or request.finished)]


def _never_started(model: str, workers: int) -> WorkerDiedError:
    return WorkerDiedError(
        f"{workers} workers of model '{model}' ended before they started this request.",
        hint="It may need more memory than there is. The log states how they ended.",
        model=model,
    )


def as_octabox_error(error: Exception, model: str) -> OctaboxError:
    """Return an error of ours for whatever was raised while a request was served; one of another class is logged."""
    if isinstance(error, OctaboxError):
        return error
    logger.error("Serving model '%s' failed", model, exc_info=error)
    message = f"A request of model '{model}' failed in the server."
    return GenerationError(message, hint="See the log for the traceback.", model=model)


def log_failure(error: OctaboxError, model: str) -> None:
    """Log that a request failed, as an error where a device failed."""
    if not isinstance(error, NOT_LOGGED):
        logger.log(logging.ERROR if isinstance(error, DeviceError) else logging.WARNING, "%s: %s", model, error)
