"""A request in the queue of a model."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.engine.batches.keys import batch_key
from octabox.engine.local.queue.received_previews import ReceivedPreviews
from octabox.engine.memory.identity import loading_key
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
from octabox.types import Event, Generation

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
        may_share: Whether the worker may run its call, or its runs, in batches.
        shares: Whether its call has been started in a batch.
        alone: Whether its runs share no batch any more, since one has ended its worker.
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
    may_share: bool = False
    shares: bool = False
    alone: bool = False
    warnings: tuple[str, ...] = ()
    turn: float = 0.0
    sent_id: str = ""
    _batch_key: tuple[str | None] | None = None
    _loading_key: str = ""
    _events: asyncio.Queue[Event | OctaboxError | None] = field(default_factory=asyncio.Queue)
    _previews: ReceivedPreviews = field(default_factory=ReceivedPreviews)

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
        return self.batch_key is not None and (self.batch_key, self.loading_key) == (other.batch_key, other.loading_key)

    @property
    def loading_key(self) -> str:
        """What requests for the same weights have in common: the rest of a configuration is in their calls."""
        self._loading_key = self._loading_key or loading_key(self.model, self.pipeline)
        return self._loading_key

    @property
    def batch_key(self) -> str | None:
        """What calls of a batch have in common; None if its call may be in none."""
        if self.alone:
            return None
        if self._batch_key is None and self.call is not None:
            self._batch_key = (batch_key(self.call, load_catalog().pipeline(self.call.runs_as)),)
        return self._batch_key[0] if self._batch_key else None

    def start(self, members: int) -> None:
        """Note that the worker has started its call, in a batch of so many members."""
        if self.shares and members == 1:  # The batch has failed, and the worker runs each member by itself.
            self._previews.restart()
        self.started, self.shares = True, members > 1

    def publish(self, event: Event) -> None:
        """Send an event to the caller, without a preview that it has received in an earlier attempt."""
        self._events.put_nowait(self._previews.without_known(event))

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

        What was in a batch, or would have been, runs singly in the other worker, once, however the first one has ended: any
        member may be the cause. A call that ends each worker, as one that needs more memory than there is, must not end more
        than two. A call by itself does not run again after the failure of a device, which it would fail on again; nor, except
        in a background job, which nobody waits for, if a worker has hung in it, or if its caller has received a preview.

        Args:
            error: How the worker ended.
        """
        if self.cancelled or self.finished:
            return False
        if self.may_share and not self.alone and (self.shares or not self.started):
            self.alone = True
        elif self.workers >= MAX_WORKERS or (self.started and not self._may_run_again(error)):
            return False
        if self.started:
            self.warnings = (*self.warnings, f"{error.message} The request was run again.")
        self._previews.restart()
        self.started = self.shares = self.may_share = False
        return True

    def _may_run_again(self, error: OctaboxError) -> bool:
        """Return whether its call may run again after it has ended its worker alone."""
        return isinstance(error, WorkerDiedError) and (self.background or not (error.hung or self._previews))

    async def next_event(self) -> Event | None:
        """Wait for the next event; return None after the last one.

        Raises:
            OctaboxError: The request has failed.
        """
        event = await self._events.get()
        if isinstance(event, OctaboxError):
            raise event
        return event


def select_calls(requests: Sequence[QueuedRequest]) -> list[QueuedRequest]:
    """Return the requests whose calls are to be run; those that only load their model are finished."""
    for request in requests:
        if request.call is None:
            request.finish()
    return [request for request in requests if not (request.cancelled or request.finished)]


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
