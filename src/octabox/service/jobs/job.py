"""A request in the background, and the events that a client follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Literal, TypeAlias, get_args

from octabox.error_copies import copy_error
from octabox.errors import GenerationCancelledError, OctaboxError
from octabox.types import Event, Generation, GenerationRequest, Progress

#: Status of a job; the last three are final.
Status = Literal["queued", "in_progress", "completed", "failed", "cancelled"]

#: All statuses, in their order.
STATUSES: tuple[Status, ...] = get_args(Status)

#: The events that a follower has not read yet.
EventQueue: TypeAlias = "asyncio.Queue[Event | OctaboxError]"


@dataclass
class Job:
    """A request, from its start until it is deleted.

    Args:
        request: The request.
        created: When it was started, in seconds since the epoch.
        status: Its status.
        is_running: Whether its model is being loaded or runs, or has run once: it may be of several calls, each of which waits.
        progress: Its last progress, without the preview.
        result: Its result; the artifacts have no content, which is in `files` or was sent to the followers.
        files: Names of the files of its artifacts, if they are kept.
        error: The error that it ended with.
        ended: When it ended, in seconds since the epoch.
        expires: When it will be deleted, in seconds since the epoch.
        note: Data of the frontend that started it.
        client: Who started it; clients take turns.
        begun: Set at its first event, or at its end.
    """

    request: GenerationRequest
    created: float
    status: Status = "queued"
    is_running: bool = False
    progress: Progress = field(default_factory=lambda: Progress("queued"))
    result: Generation | None = None
    files: tuple[str, ...] = ()
    error: OctaboxError | None = None
    ended: float | None = None
    expires: float | None = None
    note: object = None
    client: str = ""
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> str:
        """The id of the job, which is that of its request."""
        return self.request.id

    def advance(self, progress: Progress) -> None:
        """Record progress; what waits between two calls of a request that runs is not a job that waits."""
        self.progress = replace(progress, preview=None)
        self.is_running = self.is_running or progress.phase not in {"downloading", "queued"}
        self.status = "in_progress" if self.is_running or progress.phase != "queued" else "queued"

    def end(self, outcome: Generation | OctaboxError, now: float, ttl: float) -> None:
        """Record the end of the job.

        Args:
            outcome: Its result or its error.
            now: The time in seconds since the epoch.
            ttl: Seconds that the job is kept.
        """
        if isinstance(outcome, Generation):
            self.status = "completed"
            without_content = tuple(replace(artifact, content=b"") for artifact in outcome.artifacts)
            self.result = replace(outcome, artifacts=without_content)
        else:
            self.status = "cancelled" if isinstance(outcome, GenerationCancelledError) else "failed"
            self.error = outcome
        self.ended, self.expires = now, now + ttl


class JobEvents(AsyncGenerator[Event, None]):
    """The events of a job from now on; closing the iterator cancels the job.

    Args:
        events: The queue of this follower.
        cancel: Cancels the job.
    """

    def __init__(self, events: EventQueue, cancel: Callable[[], Awaitable[None]]) -> None:
        self._events, self._cancel, self._closed = events, cancel, False

    async def asend(self, value: None) -> Event:  # noqa: ARG002 (the signature of AsyncGenerator)
        """Return the next event.

        Raises:
            OctaboxError: The job failed or was cancelled.
        """
        if self._closed:
            raise StopAsyncIteration
        try:
            event = await self._events.get()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        self._closed = not isinstance(event, Progress)
        if isinstance(event, OctaboxError):
            raise copy_error(event)  # The job keeps it, and has others that follow it.
        return event

    async def athrow(self, typ: Any, val: BaseException | object = None, tb: TracebackType | None = None) -> Event:
        """Close the iterator and raise the exception."""
        await self.aclose()
        return await super().athrow(typ, val, tb)

    async def aclose(self) -> None:
        """Cancel the job if it has not ended."""
        if not self._closed:
            self._closed = True
            await self._cancel()
