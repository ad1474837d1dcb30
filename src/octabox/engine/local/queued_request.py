"""A place in the queue of a model, and the calls that its worker has been sent."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace

from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call
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

#: What is not logged as a failure: a request that was wrong or given up, and the end of a worker, which is logged by itself.
NO_FAILURES = (RequestError, NotFoundError, GenerationCancelledError, WorkerDiedError)


@dataclass(eq=False)
class QueuedRequest:
    """A place in the queue: a call, or the request to have the model loaded."""

    model: ModelConfig
    pipeline: str
    call: Call | None = None
    events: asyncio.Queue[Event | OctaboxError | None] = field(default_factory=asyncio.Queue)
    cancelled: bool = False
    begun: bool = False
    enqueued_at: float = field(default_factory=time.perf_counter)
    timings: dict[str, float] = field(default_factory=dict)


class SentCalls:
    """The calls that a model's worker has been sent and has not finished: the one that runs, and those being encoded.

    Args:
        model: Name of the model.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._tickets: dict[str, QueuedRequest] = {}
        self.ran, self.drained = asyncio.Event(), asyncio.Event()
        self.drained.set()

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._tickets

    def __len__(self) -> int:
        return len(self._tickets)

    def add(self, call_id: str, queued: QueuedRequest) -> None:
        """Note a call that is about to be sent."""
        self._tickets[call_id] = queued
        self.drained.clear()
        self.ran.clear()

    def begin(self, call_id: str) -> None:
        """Note that the worker has taken a call up."""
        if queued := self._tickets.get(call_id):
            queued.begun = True

    def publish(self, call_id: str, event: Event) -> None:
        """Hand an event to the caller who waits for it."""
        if queued := self._tickets.get(call_id):
            queued.events.put_nowait(event)

    def finish(self, call_id: str, outcome: Generation | OctaboxError) -> None:
        """Hand a call's outcome to its caller."""
        queued = self._tickets.pop(call_id, None)
        if not self._tickets:
            self.drained.set()
        if queued is None:
            return
        if isinstance(outcome, Generation):
            outcome = replace(outcome, timings={**queued.timings, **outcome.timings})
        else:
            log_failure(outcome, self._model)
        queued.events.put_nowait(outcome)
        queued.events.put_nowait(None)

    def finish_begun(self, error: OctaboxError) -> None:
        """Fail all calls that the worker has taken up, since it has ended; the others can be sent to the next one."""
        for call_id in [call_id for call_id, queued in self._tickets.items() if queued.begun]:
            self.finish(call_id, error)
        self.ran.set()

    def give_up(self, queued: QueuedRequest) -> None:
        """Forget a call that no worker will take up, so that nobody waits for its end."""
        if queued.call and not queued.begun and self._tickets.pop(queued.call.id, None) and not self._tickets:
            self.drained.set()

    def fail(self, queued: QueuedRequest, error: Exception) -> None:
        """End a ticket with a typed error, whatever was raised while it was served."""
        if not isinstance(error, OctaboxError):
            logger.error("Serving model '%s' failed", self._model, exc_info=error)
            message = f"A request of model '{self._model}' failed in the server: {type(error).__name__}: {error}"
            error = GenerationError(message, hint="The log says where.", model=self._model)
        if queued.call and queued.call.id in self._tickets:
            self.finish(queued.call.id, error)
        else:
            log_failure(error, self._model)
            queued.events.put_nowait(error)

    def close(self, waiting: list[QueuedRequest]) -> None:
        """Fail everything that waits or runs, since the server is being stopped."""
        for queued in dict.fromkeys([*waiting, *self._tickets.values()]):
            queued.events.put_nowait(GenerationCancelledError("The server is being stopped.", model=self._model))
        self._tickets.clear()
        self.drained.set()


def log_failure(error: OctaboxError, model: str) -> None:
    """Log that a request failed: as an error where a device did."""
    if not isinstance(error, NO_FAILURES):
        logger.log(logging.ERROR if isinstance(error, DeviceError) else logging.WARNING, "%s: %s", model, error)
