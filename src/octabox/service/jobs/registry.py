"""Run requests in the background, and keep their status and result for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from octabox.errors import GenerationCancelledError, GenerationNotFoundError, InvalidParameterError, OctaboxError
from octabox.security.clients import current_client, may_see
from octabox.service.events import result_of
from octabox.service.jobs.dropping import FileDropper
from octabox.service.jobs.job import EventQueue, Job, JobEvents
from octabox.service.protocols import GenerationService
from octabox.types import Artifact, Event, Generation, GenerationRequest, Progress

logger = logging.getLogger("octabox.jobs")

#: Maximum number of ended jobs that are kept; the oldest are deleted first.
MAX_ENDED = 1000

#: Seconds that a cancelled job has to end by itself.
CANCEL_TIMEOUT = 10.0


class Jobs:
    """Runs each request in its own task, and keeps it for a while after its end.

    Args:
        inner: Runs the requests.
        ttl: Seconds that a job is kept after its end.
        keep: Writes an artifact where clients can fetch it, and returns the name of the file.
        drop: Deletes the file of this name, if it exists; called in a thread.
        clock: Returns the time in seconds since the epoch.
    """

    def __init__(
        self,
        inner: GenerationService,
        ttl: float,
        keep: Callable[[Artifact], str],
        drop: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._inner, self._ttl, self._keep, self._clock = inner, ttl, keep, clock
        self._files = FileDropper(drop)
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._followers: dict[str, list[EventQueue]] = {}

    def start(self, request: GenerationRequest, *, keep: bool = False, note: object = None) -> Job:
        """Start a request.

        Args:
            request: The request; its id names the job.
            keep: Whether to write its artifacts where clients can fetch them.
            note: Data of the frontend, which is kept with the job.

        Raises:
            InvalidParameterError: Another request with this id is running.
        """
        self.delete_expired()
        hint = "Give another, or none."
        if request.id in self._tasks:
            raise InvalidParameterError(f"A request '{request.id}' is running.", hint=hint, parameter="id")
        if request.id in self._jobs and not may_see(self._jobs[request.id].client):
            raise InvalidParameterError(f"The id '{request.id}' is used by another client.", hint=hint, parameter="id")
        self._remove(request.id)
        job = self._jobs[request.id] = Job(request, self._clock(), note=note, client=current_client.get())
        self._tasks[job.id] = asyncio.create_task(self._run(job, keep=keep), name=f"request {job.id}")
        return job

    def follow(self, job: Job) -> AsyncGenerator[Event, None]:
        """Return the events of a job from now on, the result last; closing the iterator cancels the job."""
        # Subscribe now, not when the first event is awaited, so that no event in between is lost.
        events: EventQueue = asyncio.Queue()
        if (last := job.error or job.result) is not None:
            events.put_nowait(last)
        else:
            self._followers.setdefault(job.id, []).append(events)
        return JobEvents(events, lambda: self.cancel(job))

    def find(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            GenerationNotFoundError: There is none with this id, or it is no longer kept.
        """
        self.delete_expired()
        if job_id not in self._jobs or not may_see(self._jobs[job_id].client):
            hint = "A request is kept while it runs, and for a while after its end."
            raise GenerationNotFoundError(f"There is no request '{job_id}'.", hint=hint, parameter="id")
        return self._jobs[job_id]

    def list(self) -> list[Job]:
        """Return all jobs, the oldest first."""
        self.delete_expired()
        return [job for job in self._jobs.values() if may_see(job.client)]

    async def cancel(self, job: Job) -> None:
        """Cancel a job if it is waiting or running, and wait for its end."""
        task = self._tasks.get(job.id) if self._jobs.get(job.id) is job else None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_TIMEOUT)
            if job.ended is None:  # The task was cancelled before it started, or does not end.
                self._end(job, _cancelled(job))

    async def forget(self, job: Job) -> None:
        """Cancel a job if it is waiting or running, and delete it with its files."""
        await self.cancel(job)
        if self._jobs.get(job.id) is job:
            self._remove(job.id)
            await self._files.finish()

    async def close(self) -> None:
        """Cancel all jobs, and wait until the files of deleted ones are gone."""
        await asyncio.gather(*(self.cancel(job) for job in [*self._jobs.values()]))
        await self._files.finish()

    async def _run(self, job: Job, *, keep: bool) -> None:
        """Run a job, and record its result or its error."""
        try:
            outcome: Generation | OctaboxError = await self._result(job, keep=keep)
        except asyncio.CancelledError:
            # The caller of `cancel` waits for the end of this task alone.
            outcome = _cancelled(job)
        except OctaboxError as error:
            outcome = error
        except Exception:
            logger.exception("Request %s failed", job.id)
            message = "An internal error occurred; see the log of the server."
            outcome = OctaboxError(message, model=job.request.model)
        self._end(job, outcome)

    async def _result(self, job: Job, *, keep: bool) -> Generation:
        """Return the result of a job; publish its progress."""

        def advance(progress: Progress) -> None:
            job.advance(progress)
            self._publish(job, progress)

        result = await result_of(self._inner.stream(job.request), advance)
        if keep:
            job.files = tuple([await asyncio.to_thread(self._keep, each) for each in result.artifacts])
        return result

    def _end(self, job: Job, outcome: Generation | OctaboxError) -> None:
        """Record and publish the end of a job, and keep no media of its request; the first end counts."""
        if job.ended is not None:
            return
        job.end(outcome, self._clock(), self._ttl)
        job.request = replace(job.request, params={}, optional_params={}, inputs={}, workflow={})
        self._tasks.pop(job.id, None)
        self._publish(job, outcome)
        self._followers.pop(job.id, None)

    def _publish(self, job: Job, event: Event | OctaboxError) -> None:
        """Send an event to all followers of a job."""
        job.begun.set()
        for follower in self._followers.get(job.id, ()):
            follower.put_nowait(event)

    def delete_expired(self) -> None:
        """Delete expired jobs, and the oldest if there are too many."""
        ended = [job for job in self._jobs.values() if job.expires is not None and job.id not in self._tasks]
        too_many = len(ended) - MAX_ENDED
        now = self._clock()
        for index, job in enumerate(ended):
            if index < too_many or (job.expires is not None and job.expires <= now):
                self._remove(job.id)

    def _remove(self, job_id: str) -> None:
        """Remove an ended job and its files."""
        if job := self._jobs.pop(job_id, None):
            self._files.drop(job.files)


def _cancelled(job: Job) -> GenerationCancelledError:
    return GenerationCancelledError("The request was cancelled.", model=job.request.model)
