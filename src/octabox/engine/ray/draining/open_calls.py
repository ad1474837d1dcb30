"""The calls that a worker on a node has, and when its node may end."""

from __future__ import annotations

from dataclasses import dataclass

from octabox.engine.messages import Failed, Finished, FromWorker, RunBatch, RunCall, ToWorker
from octabox.errors import OctaboxError


@dataclass(frozen=True)
class RunningCalls:
    """The calls that a worker has yet to finish.

    Args:
        model: Name of its model.
        count: How many.
    """

    model: str
    count: int


class OpenCalls:
    """The calls of a worker from when they are sent until their results, or errors, are there.

    While it drains it accepts no calls. Those that come nevertheless are dropped: they run elsewhere once the server that has
    sent them learns that the worker has ended.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self.draining = False

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def drained(self) -> bool:
        """Whether the worker is to end, and has no calls left."""
        return self.draining and not self._ids

    def accept(self, message: ToWorker) -> bool:
        """Note a message to the worker; return whether it may have it."""
        if not isinstance(message, RunCall | RunBatch):
            return True
        if self.draining:
            return False
        self._ids.update(call.id for call in (message.calls if isinstance(message, RunBatch) else (message.call,)))
        return True

    def note(self, message: FromWorker | OctaboxError) -> None:
        """Note a message of the worker: what ends a call, or the end of the worker."""
        if isinstance(message, Finished | Failed):
            self._ids.discard(message.id)
        elif isinstance(message, OctaboxError):
            self._ids.clear()
