"""Record what happens to jobs, in memory and in the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from octabox.errors import OctaboxError
from octabox.media.formats import suffix_of
from octabox.service.jobs.errors import JobStoreError
from octabox.service.jobs.queue.live_jobs import LiveJobs
from octabox.service.jobs.queue.run_times import RunTimes
from octabox.service.jobs.queue.webhooks import Webhooks
from octabox.service.jobs.record import StoredJob
from octabox.service.jobs.store.store import JobStore
from octabox.types import Generation, Progress

logger = logging.getLogger("octabox.jobs")

#: Seconds between the attempts to store an end, such as while the disk is full.
DELAYS = (1.0, 5.0, 30.0)


class JobRecorder:
    """Records the starts, the progress and the ends of jobs.

    Args:
        store: The store.
        live: The jobs that wait or run.
        times: Learns how long runs take.
        webhooks: Makes the notices.
        ttl: Seconds that a job is kept.
        clock: Returns the time in seconds since the epoch.
    """

    def __init__(
        self,
        store: JobStore,
        live: LiveJobs,
        times: RunTimes,
        webhooks: Webhooks,
        ttl: float,
        clock: Callable[[], float],
    ) -> None:
        self._store, self._live, self._times, self._webhooks = store, live, times, webhooks
        self._ttl, self._clock = ttl, clock

    def advance(self, job: StoredJob, progress: Progress) -> None:
        """Record and publish the progress of a job; the start of a run is stored, so that runs without an end are counted."""
        was_waiting = job.status == "queued"
        job.advance(progress)
        log = self._live.log(job)
        if was_waiting and job.status == "in_progress":
            job.started, job.attempts = self._clock(), job.attempts + 1
            self._change(job, status=job.status, started=job.started, attempts=job.attempts)
            log.start_run(job.attempts)
            log.publish()
        log.publish(job.progress)

    def wait_again(self, job: StoredJob) -> None:
        """Record that a job waits again, at its place."""
        if job.status == "in_progress":
            job.status = "queued"
            self._change(job, status=job.status)
        job.progress = Progress("queued")
        self._live.log(job).publish()

    async def end(self, job: StoredJob, outcome: Generation | OctaboxError) -> None:
        """Store the end of a job: its files, its state and its webhooks; publish it once that is on disk.

        Raises:
            JobStoreError: It could not be stored.
        """
        files: tuple[str, ...] = ()
        if isinstance(outcome, Generation):
            try:
                files = await asyncio.to_thread(self._write, outcome)
            except JobStoreError as error:
                outcome = error
        now = self._clock()
        ended = replace(job, files=files)
        ended.end(outcome, now, self._ttl)
        seconds = None
        if isinstance(outcome, Generation) and job.started is not None:
            seconds = self._times.learn(job.request.model, max(now - job.started, 0.0))
        notices = self._webhooks.notices(ended, batch_ended=self._live.leave_batch(job))
        for delay in (*DELAYS, None):
            try:
                await self._store.end(ended, notices, seconds)
                break
            except JobStoreError as error:
                if delay is None:
                    raise
                logger.warning("The end of job %s is not stored yet: %s", job.id, error)
                await asyncio.sleep(delay)
        vars(job).update(vars(ended))
        self._live.remove(job)
        if notices:
            self._webhooks.wake()

    def _change(self, job: StoredJob, **values: object) -> None:
        """Change columns of a job; a failure is logged, and does not end the run."""

        def check(written: asyncio.Future[None]) -> None:
            if not written.cancelled() and (error := written.exception()):
                logger.error("The state of job %s is not stored: %s", job.id, error)

        self._store.change(job.id, **values).add_done_callback(check)

    def _write(self, result: Generation) -> tuple[str, ...]:
        """Write the artifacts of a result, and return the names of their files."""
        return tuple(self._store.files.write(each.content, suffix_of(each.media_type)) for each in result.artifacts)
