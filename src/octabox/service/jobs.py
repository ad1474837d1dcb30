"""Requests by their ids: how far each is, what came of it, and a way to end it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeAlias

from octabox.errors import (
    GenerationCancelledError,
    GenerationError,
    GenerationNotFoundError,
    InvalidParameterError,
    OctaboxError,
)
from octabox.types import Artifact, Event, Generation, GenerationRequest, Progress

logger = logging.getLogger("octabox.jobs")

#: Where a job is: the last three are ends.
Status = Literal["queued", "in_progress", "completed", "failed", "cancelled"]

#: Ended jobs that are remembered; the oldest make room for the newest.
MOST_ENDED = 1000

#: What one follower has not read yet.
Events: TypeAlias = "asyncio.Queue[Event | OctaboxError]"


class Streams(Protocol):
    """Runs requests."""

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Run a request and yield its progress, then its result; closing the iterator cancels it."""
        ...


@dataclass
class Job:
    """One request, from its start until it is forgotten.

    Args:
        request: What was asked for.
        created: When it was started, in seconds since the epoch.
        status: Where it is.
        progress: The last that it told of itself, without its preview.
        result: What was made; its artifacts are without content, which `files` or whoever followed the job has.
        files: Names of the artifacts' files, where they were to be kept.
        error: Why it ended without a result.
        ended: When it ended, in seconds since the epoch.
        expires: When it will be forgotten, in seconds since the epoch.
        note: What the wire that started it remembers of it.
        begun: Set once it has told something: it is a good request, or it has ended.
    """

    request: GenerationRequest
    created: float
    status: Status = "queued"
    progress: Progress = field(default_factory=lambda: Progress("queued"))
    result: Generation | None = None
    files: tuple[str, ...] = ()
    error: OctaboxError | None = None
    ended: float | None = None
    expires: float | None = None
    note: object = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> str:
        """Name of the job: that of its request."""
        return self.request.id


class Jobs:
    """Runs requests, each in a task of its own, and remembers them for a while.

    Args:
        inner: What really runs them.
        ttl: Seconds that a job is remembered once it has ended.
        keep: Writes an artifact where clients can fetch it, and returns its name.
        drop: Deletes the artifact of this name, if it is still there.
        clock: Tells the time in seconds since the epoch.
    """

    def __init__(
        self,
        inner: Streams,
        ttl: float,
        keep: Callable[[Artifact], str],
        drop: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._inner, self._ttl, self._keep, self._drop, self._clock = inner, ttl, keep, drop, clock
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._followers: dict[str, list[Events]] = {}

    def start(self, request: GenerationRequest, *, keep: bool = False, note: object = None) -> Job:
        """Start a request.

        Args:
            request: The request; its id names the job.
            keep: Whether to write its artifacts where clients can fetch them.
            note: What the wire remembers of it.

        Raises:
            InvalidParameterError: Another request of this id is running.
        """
        self._forget_old()
        if request.id in self._tasks:
            hint = "Give another, or none."
            raise InvalidParameterError(f"A request '{request.id}' is running.", hint=hint, parameter="id")
        self._remove(request.id)
        job = self._jobs[request.id] = Job(request, self._clock(), note=note)
        self._tasks[job.id] = asyncio.create_task(self._run(job, keep=keep), name=f"request {job.id}")
        return job

    def follow(self, job: Job) -> AsyncGenerator[Event, None]:
        """Return what a job tells from now on, its result last; closing the iterator cancels the job.

        Raises:
            OctaboxError: The job failed or was cancelled.
        """
        # Listening begins with this call, not with the first step of the iterator: nothing may be told in between.
        events: Events = asyncio.Queue()
        if (last := job.error or job.result) is not None:
            events.put_nowait(last)
        else:
            self._followers.setdefault(job.id, []).append(events)
        return self._followed(job, events)

    async def _followed(self, job: Job, events: Events) -> AsyncGenerator[Event, None]:
        try:
            while True:
                event = await events.get()
                if isinstance(event, OctaboxError):
                    raise event
                yield event
                if isinstance(event, Generation):
                    return
        finally:
            await self.cancel(job)

    def find(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            GenerationNotFoundError: There is none of this id, or it is no longer kept.
        """
        self._forget_old()
        if job_id not in self._jobs:
            hint = "A request is known while it runs, and for a while after that."
            raise GenerationNotFoundError(f"There is no request '{job_id}'.", hint=hint, parameter="id")
        return self._jobs[job_id]

    def list(self) -> list[Job]:
        """Return all jobs, the oldest first."""
        self._forget_old()
        return [*self._jobs.values()]

    async def cancel(self, job: Job) -> None:
        """End a job if it waits or runs, and wait until it has ended."""
        task = self._tasks.get(job.id) if self._jobs.get(job.id) is job else None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
            if job.ended is None:  # It had not even begun.
                self._end(job, _cancelled(job))

    async def forget(self, job: Job) -> None:
        """End a job if it waits or runs, and delete what is kept of it."""
        await self.cancel(job)
        if self._jobs.get(job.id) is job:
            self._remove(job.id)

    async def close(self) -> None:
        """End all jobs."""
        await asyncio.gather(*(self.cancel(job) for job in [*self._jobs.values()]))

    async def _run(self, job: Job, *, keep: bool) -> None:
        """Run a job to its end, whatever that is."""
        try:
            last: Generation | OctaboxError = await self._result(job, keep=keep)
        except asyncio.CancelledError:
            # Whoever cancelled it waits for the end of this task, and is told nothing else.
            last = _cancelled(job)
        except OctaboxError as error:
            last = error
        except Exception:
            logger.exception("Request %s broke", job.id)
            message = "Something went wrong inside the server; its log says what."
            last = OctaboxError(message, model=job.request.model)
        self._end(job, last)

    async def _result(self, job: Job, *, keep: bool) -> Generation:
        """Return what a job makes; on the way there its progress is noted and told."""
        events = self._inner.stream(job.request)
        try:
            async for event in events:
                if isinstance(event, Generation):
                    if keep:
                        job.files = tuple([await asyncio.to_thread(self._keep, each) for each in event.artifacts])
                    return event
                job.progress = replace(event, preview=None)
                job.status = "queued" if event.phase == "queued" else "in_progress"
                self._tell(job, event)
        finally:
            await events.aclose()
        raise GenerationError("The engine ended a request without a result.", model=job.request.model)

    def _end(self, job: Job, last: Generation | OctaboxError) -> None:
        """Note a job's end, and tell it."""
        if isinstance(last, Generation):
            job.status = "completed"
            job.result = replace(last, artifacts=tuple(replace(artifact, content=b"") for artifact in last.artifacts))
        else:
            job.status = "cancelled" if isinstance(last, GenerationCancelledError) else "failed"
            job.error = last
        job.ended = self._clock()
        job.expires = job.ended + self._ttl
        self._tasks.pop(job.id, None)
        self._tell(job, last)
        self._followers.pop(job.id, None)

    def _tell(self, job: Job, event: Event | OctaboxError) -> None:
        job.begun.set()
        for follower in self._followers.get(job.id, ()):
            follower.put_nowait(event)

    def _forget_old(self) -> None:
        """Forget jobs that have expired, and the oldest where there are too many."""
        ended = [job for job in self._jobs.values() if job.expires is not None and job.id not in self._tasks]
        too_many = len(ended) - MOST_ENDED
        now = self._clock()
        for place, job in enumerate(ended):
            if place < too_many or (job.expires is not None and job.expires <= now):
                self._remove(job.id)

    def _remove(self, job_id: str) -> None:
        """Remove an ended job and its files."""
        job = self._jobs.pop(job_id, None)
        for name in job.files if job else ():
            self._drop(name)


def _cancelled(job: Job) -> GenerationCancelledError:
    return GenerationCancelledError("The request was cancelled.", model=job.request.model)
