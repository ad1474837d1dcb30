"""The calls that the worker of a model has been sent."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from octabox.engine.batches.ceilings import Ceilings
from octabox.engine.batches.keys import PROBED
from octabox.engine.local.queue.queued_request import QueuedRequest, log_failure
from octabox.engine.protocol import Call
from octabox.errors import OctaboxError, WorkerDiedError
from octabox.types import Event, Generation


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
        self._group: tuple[Call, int] | None = None
        #: The most members of batches, which the next worker starts with.
        self.ceilings = Ceilings()
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
        runs = sum(len(request.call.runs) for request in requests if request.call)
        for request in requests:
            if request.call:
                request.workers += 1
                request.sent_id = self._free_id(request.call.id)
                request.may_share = runs > 1 and request.batch_key is not None
                self._requests[request.sent_id] = request
                is_own = request.sent_id == request.call.id and not request.alone
                deterministic = request.alone or request.call.deterministic
                call = replace(request.call, id=request.sent_id, deterministic=deterministic)
                calls.append(request.call if is_own else call)
        self._running, self._group = {call.id for call in calls}, None
        self.all_finished.clear()
        self.run_finished.clear()
        return tuple(calls)

    def start(self, call_id: str, members: int) -> None:
        """Mark a call as started by the worker, in a batch of so many members."""
        if request := self._requests.get(call_id):
            request.start(members)
            self._group = (request.call, members) if request.call else None

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
        if _may_be_of_batch(error) and (batch := self._running_batch()):
            self.ceilings.halve(*batch)
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

    def _running_batch(self) -> tuple[Call, int] | None:
        """A call of the batch that runs, or that is about to, and how many members it has; None while there is none."""
        if not self._running:
            return None
        waiting = [each for name in self._running if (each := self._requests.get(name)) and each.may_share]
        if self._group is None and waiting and waiting[0].call:
            return waiting[0].call, PROBED  # It is being proved.
        return self._group if self._group and self._group[1] > 1 else None

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


def _never_started(model: str, workers: int) -> WorkerDiedError:
    return WorkerDiedError(
        f"{workers} workers of model '{model}' ended before they started this request.",
        hint="It may need more memory than there is. The log states how they ended.",
        model=model,
    )


def _may_be_of_batch(error: OctaboxError) -> bool:
    """Return whether the batch that ran may have ended the worker, and not its node or its device."""
    return isinstance(error, WorkerDiedError) and (error.exited or not error.lost)
