"""Record what happens to jobs, in memory and in the store."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from octabox.errors import OctaboxError
from octabox.media.formats import suffix_of
from octabox.service.jobs.errors import JobStoreError
from octabox.service.jobs.queue.acceptor import QueueLimits
from octabox.service.jobs.queue.live_jobs import LiveJobs
from octabox.service.jobs.queue.run_times import RunTimes
from octabox.service.jobs.queue.webhooks import Webhooks
from octabox.service.jobs.record import Notices, StoredJob
from octabox.service.jobs.store.store import JobStore
from octabox.service.protocols import JobObserver
from octabox.types import Generation, Progress

logger = logging.getLogger("octabox.jobs")

#: Seconds between the attempts to store an end, such as while the disk is full; the last one is repeated.
DELAYS = (1.0, 5.0, 30.0)


class JobRecorder:
    """Records the starts, the progress and the ends of jobs.

    Args:
        store: The store.
        live: The jobs that wait or run.
        times: Learns how long runs take.
        webhooks: Makes the notices.
        limits: How long a job is kept, and how large the results may be.
        clock: Returns the time in seconds since the epoch.
        observer: Measures how long jobs wait.
    """

    def __init__(
        self,
        store: JobStore,
        live: LiveJobs,
        times: RunTimes,
        webhooks: Webhooks,
        limits: QueueLimits,
        clock: Callable[[], float],
        observer: JobObserver | None = None,
    ) -> None:
        self._store, self._live, self._times, self._webhooks = store, live, times, webhooks
        self._ttl, self._max_bytes, self._clock, self._observer = limits.ttl, limits.bytes, clock, observer

    def advance(self, job: StoredJob, progress: Progress) -> None:
        """Record the progress of a job, and publish it with its preview; the start of a run is stored, to be counted."""
        status, was_running = job.status, job.is_running
        job.advance(progress)
        log = self._live.log(job)
        if job.status != status and not job.is_running:
            # A download is not a run yet, and the job may wait after it.
            self._change(job, status=job.status)
            log.publish()
        if job.is_running and not was_running:
            job.started, job.attempts = self._clock(), job.attempts + 1
            if self._observer and job.attempts == 1:
                self._observer.observe_job_wait(job.request.model, max(job.started - job.created, 0.0))
            self._change(job, status=job.status, started=job.started, attempts=job.attempts)
            log.start_run(job.attempts)
            log.publish()
        log.publish(progress)

    def wait_again(self, job: StoredJob) -> None:
        """Record that a job waits again, at its place."""
        if job.status == "in_progress":
            job.status, job.started = "queued", None
            self._change(job, status=job.status, started=job.started)
        job.is_running, job.progress = False, Progress("queued")
        self._live.log(job).publish()

    async def end(self, job: StoredJob, outcome: Generation | OctaboxError) -> None:
        """Store the end of a job: its files, its state and its webhooks; publish it once that is on disk.

        Raises:
            JobStoreError: The store was closed before that.
        """
        files: tuple[str, ...] = ()
        if isinstance(outcome, Generation):
            files = await self._store_files(job, outcome)
        size = sum(len(each.content) for each in outcome.artifacts) if isinstance(outcome, Generation) else 0
        now = self._clock()
        ended = replace(job, files=files)
        ended.end(outcome, now, self._ttl)
        seconds = None
        if isinstance(outcome, Generation) and job.started is not None:
            seconds = self._times.learn(job.request.model, max(now - job.started, 0.0))
        notices = self._webhooks.notices(ended)
        if not await self._store_end(ended, notices, seconds, size):
            # Another server has taken it over, since this one did not renew its lease in time.
            await self._store.drop_files(files)
            self._live.release(job)
            return
        vars(job).update(vars(ended))
        self._live.remove(job)
        if notices:
            self._webhooks.wake()
        if files and self._max_bytes:
            await self._trim(job)

    async def _store_files(self, job: StoredJob, result: Generation) -> tuple[str, ...]:
        """Write the artifacts of a result once their store responds, and return the names of their files.

        Raises:
            JobStoreError: The store was closed before that; the job runs again at the next server.
        """
        delays, names = iter(DELAYS), list[str]()
        try:
            while len(names) < len(result.artifacts):
                each = result.artifacts[len(names)]
                try:
                    name = await asyncio.to_thread(self._store.files.write, each.content, suffix_of(each.media_type))
                    names.append(name)
                except JobStoreError as error:
                    await self._wait_after(job, error, delays)
        except BaseException:
            await self._store.drop_files(names)
            raise
        return tuple(names)

    async def _store_end(self, job: StoredJob, notices: Notices | None, seconds: float | None, size: int) -> bool:
        """Store the end of a job once the store responds, and return whether it is a job of this server.

        Raises:
            JobStoreError: The store was closed before that; the job runs again at the next server.
        """
        delays, has_failed = iter(DELAYS), False
        while True:
            try:
                is_stored = await self._store.end(job, notices, seconds, size)
                # A failed attempt may have been stored: the answer of the database was lost.
                return is_stored or (has_failed and _is_same_end(job, await self._store.find(job.id)))
            except JobStoreError as error:
                has_failed = True
                await self._wait_after(job, error, delays)

    async def _wait_after(self, job: StoredJob, error: JobStoreError, delays: Iterator[float]) -> None:
        """Wait before the next attempt to store an end; raise the error if there is none, since the store is closed."""
        if not self._store.is_open:
            raise error
        logger.warning("The end of job %s is not stored yet: %s", job.id, error)
        await asyncio.sleep(next(delays, DELAYS[-1]))

    async def _trim(self, job: StoredJob) -> None:
        """Delete the oldest results until those of all jobs are small enough."""
        with contextlib.suppress(JobStoreError):  # It is tried again after the next job.
            await self._store.trim(self._max_bytes, job.id)

    def _change(self, job: StoredJob, **values: object) -> None:
        """Change columns of a job; a failure is logged, and does not end the run."""

        def check(written: asyncio.Future[bool]) -> None:
            if not written.cancelled() and (error := written.exception()):
                logger.error("The state of job %s is not stored: %s", job.id, error)

        self._store.change(job, **values).add_done_callback(check)


def _is_same_end(job: StoredJob, stored: StoredJob | None) -> bool:
    """Return whether a stored job has ended as another one has."""
    return stored is not None and (job.status, job.ended, job.files) == (stored.status, stored.ended, stored.files)


class JobEnds:
    """The ends that are being stored: the first end of a job counts.

    Args:
        recorder: Stores them.
        live: The jobs that wait or run.
        on_end: Called once the end of a job is stored: the positions of others have changed, also where it only waited.
    """

    def __init__(self, recorder: JobRecorder, live: LiveJobs, on_end: Callable[[StoredJob], None]) -> None:
        self._recorder, self._live, self._on_end = recorder, live, on_end
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    async def end(self, job: StoredJob, outcome: Generation | OctaboxError) -> None:
        """Store the end of a job, then publish it; a caller that leaves does not prevent it."""
        if not self._live.holds(job):
            return
        if job.id not in self._tasks:
            self._live.order.begin_end(job)
            task = asyncio.create_task(self._recorder.end(job, outcome), name=f"end of job {job.id}")
            self._tasks[job.id] = task
            task.add_done_callback(partial(self._forget, job))
        await asyncio.shield(self._tasks[job.id])

    async def finish(self, timeout: float) -> None:
        """Wait until all ends are stored, for some seconds."""
        if self._tasks:
            await asyncio.wait([*self._tasks.values()], timeout=timeout)

    def _forget(self, job: StoredJob, _: asyncio.Task[None]) -> None:
        del self._tasks[job.id]
        self._on_end(job)
