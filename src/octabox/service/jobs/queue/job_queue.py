"""The queue of background jobs: accept, find, change and end them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from octabox.errors import GenerationNotFoundError, InvalidParameterError, OctaboxError
from octabox.security.clients import current_client
from octabox.security.urls import UrlGuard
from octabox.service.jobs.errors import JobStateError
from octabox.service.jobs.queue.acceptance import (
    check_hash,
    check_key,
    check_room,
    hash_submissions,
    new_jobs,
    owner_of,
    to_rows,
)
from octabox.service.jobs.queue.controls import QueueControls
from octabox.service.jobs.queue.dispatcher import Dispatcher
from octabox.service.jobs.queue.ends import EndRecorder
from octabox.service.jobs.queue.event_log import JobEvent, end_number
from octabox.service.jobs.queue.live_jobs import LiveJobs
from octabox.service.jobs.queue.run_times import RunTimes
from octabox.service.jobs.queue.webhooks import Webhooks
from octabox.service.jobs.record import Acceptance, JobQuery, Kind, StoredJob, Submission
from octabox.service.jobs.store.store import JobStore
from octabox.service.protocols import GenerationService
from octabox.types import Progress

#: Statuses of jobs that can run again.
RETRIED = ("failed", "cancelled")


@dataclass(frozen=True)
class QueueLimits:
    """Limits of the queue.

    Args:
        ttl: Seconds that a job is kept after its end.
        waiting: How many jobs may wait.
        per_client: How many jobs of a client may wait or run; 0 is no limit.
        per_model: How many jobs the engine's queue of a model may have.
    """

    ttl: float = 24 * 3600
    waiting: int = 10_000
    per_client: int = 0
    per_model: int = 16


class JobQueue:
    """Jobs that are stored when they are accepted, and run in their order; `controls` change the order.

    Args:
        generation: Runs requests.
        store: Where they are stored. It is opened when it is first needed.
        limits: Limits of the queue.
        webhook_key: Key of the signatures of webhooks.
        guard: Checks the URLs of webhooks.
        clock: Returns the time in seconds since the epoch.
    """

    def __init__(
        self,
        generation: GenerationService,
        store: JobStore,
        limits: QueueLimits = QueueLimits(),
        webhook_key: bytes = b"",
        guard: UrlGuard | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._generation, self.store, self._limits, self._clock = generation, store, limits, clock
        self._live, self._times = LiveJobs(limits.per_model), RunTimes()
        self._webhooks = Webhooks(store, webhook_key, guard, clock)
        recorder = EndRecorder(store, self._live, self._times, self._webhooks, limits.ttl, clock)
        self._dispatcher = Dispatcher(generation, self._live, store, recorder.record, clock)
        self.controls = QueueControls(self._live, store, self._dispatcher)
        self._opening = asyncio.Lock()
        self._sending: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the store is open."""
        return self._sending is not None

    async def open(self) -> None:
        """Open the store, and let the jobs that it contains wait.

        Raises:
            JobStoreError: It cannot be opened.
        """
        async with self._opening:
            if self.is_open:
                return
            await self.store.open()
            waiting, failed = await self.store.recover(self._clock(), self._limits.ttl)
            for job in failed:
                for notice in self._webhooks.notices(job, batch_ended=False):
                    await self.store.add_delivery(notice)
            self._live.number, self._live.place = await self.store.last_numbers()
            self._times.load(await self.store.run_times())
            await self.controls.load()
            for job in waiting:
                self._live.add(job)
            self._sending = asyncio.create_task(self._webhooks.serve(), name="webhooks")
        self._dispatcher.dispatch()

    async def accept(
        self, submissions: Sequence[Submission], key: str | None = None, *, batch: bool = False
    ) -> Acceptance:
        """Check and store requests, which then run in the background; either all are accepted or none.

        Args:
            submissions: The requests.
            key: Idempotency key of the client: with the same key, the same requests are accepted once.
            batch: Whether they are a batch.

        Raises:
            OctaboxError: A request is invalid, the client has too many jobs, or they cannot be stored.
        """
        check_key(key)
        await self.open()
        client, request_hash = current_client.get(), ""
        if key is not None:
            request_hash = await asyncio.to_thread(hash_submissions, submissions)
        count = len(submissions)
        checked = [await self._validated(each, index if batch else None) for index, each in enumerate(submissions)]
        model = checked[0].request.model
        check_room(self._live, self._times, client, model, count, self._limits.waiting, self._limits.per_client)
        owner = owner_of(client, self.store.secret)
        name = f"batch_{uuid.uuid4().hex}" if batch else None
        jobs = new_jobs(checked, name, client, owner, self._live.reserve(count), self._clock())
        # A client that leaves must not separate the jobs on disk from those in memory.
        return await asyncio.shield(asyncio.ensure_future(self._insert(jobs, key, request_hash)))

    async def find(self, job_id: str, kind: Kind | None = None) -> StoredJob:
        """Return a job.

        Args:
            job_id: Its id.
            kind: The API that it was started by; None is any.

        Raises:
            GenerationNotFoundError: There is no such job, or it is no longer kept.
        """
        await self.open()
        job = self._live.get(job_id) or await self.store.find(job_id)
        if job is None or kind not in {None, job.kind} or (job.expires is not None and job.expires <= self._clock()):
            hint = "A background job is kept while it waits or runs, and for a while after its end."
            raise GenerationNotFoundError(f"There is no job '{job_id}'.", hint=hint, parameter="id")
        return self._current(job)

    async def list(self, query: JobQuery) -> list[StoredJob]:
        """Return the jobs of a query."""
        await self.open()
        return [self._current(job) for job in await self.store.find_all(query)]

    async def count_by_status(self) -> dict[str, int]:
        """Return how many jobs there are in each status."""
        await self.open()
        return await self.store.count_by_status()

    async def follow(self, job_id: str, after: int | None = None) -> AsyncGenerator[JobEvent, None]:
        """Return the events of a job after one of them, by default its current status first; the last one is its end."""
        job = await self.find(job_id)
        if job_id in self._live:
            return self._live.log(job).follow(after)
        return _end_event(end_number(job.attempts))

    async def cancel(self, job_id: str) -> StoredJob:
        """Cancel a job that waits or runs; one that has ended stays as it is."""
        job = await self.find(job_id)
        if job_id in self._live:
            await self._dispatcher.cancel(job)
        return job

    async def delete(self, job_id: str) -> StoredJob:
        """Cancel a job, and delete it with its files."""
        job = await self.cancel(job_id)
        await self.store.remove([job_id])
        return job

    async def retry(self, job_id: str) -> StoredJob:
        """Let a job that has failed or was cancelled wait again, at the end of the queue.

        Raises:
            JobStateError: It has another status.
        """
        job = await self.find(job_id)
        if job.status not in RETRIED or job_id in self._live:
            message = f"Job '{job_id}' is {job.status}; only failed and cancelled jobs can be retried."
            raise JobStateError(message, hint="To run the request once more, submit it again.", parameter="id")
        limits = self._limits
        check_room(self._live, self._times, job.client, job.request.model, 1, limits.waiting, limits.per_client)
        place = self._live.reserve(1)[1]
        again = replace(job, status="queued", progress=Progress("queued"), error=None, ended=None, expires=None)
        again = replace(again, losses=0, place=place, started=None)
        self._live.add(again)  # Before it is stored, so that it is retried once.
        empty = dict.fromkeys(("result", "error", "ended", "expires", "started"))
        await self.store.change(job_id, status="queued", losses=0, place=again.place, **empty)
        self._dispatcher.dispatch()
        return self._current(again)

    async def prune(self, query: JobQuery) -> int:
        """Delete the ended jobs of a query, and return how many there were."""
        ids = [job.id for job in await self.list(query) if job.ended is not None]
        for start in range(0, len(ids), 500):
            await self.store.remove(ids[start : start + 500])
        return len(ids)

    def find_file(self, name: str) -> tuple[Path, float] | None:
        """Return the path of a result, and in how many seconds it expires; None if it does not exist."""
        path = self.store.files.find(name) if self.is_open else None
        return None if path is None else (path, path.stat().st_mtime + self._limits.ttl - self._clock())

    def poll_after(self, job: StoredJob) -> float:
        """Return after how many seconds a client should ask for a job again."""
        return self._times.poll_after(job, self._clock())

    async def delete_expired(self) -> None:
        """Delete the jobs whose time has passed, with their files."""
        if self.is_open:
            await self.store.remove_expired(self._clock())

    async def close(self) -> None:
        """Stop running jobs, which wait for the next server, and close the store."""
        async with self._opening:
            await self._dispatcher.close()
            if self._sending is not None:
                self._sending.cancel()
                await asyncio.gather(self._sending, return_exceptions=True)
            await self.store.close()

    async def _insert(self, jobs: Sequence[StoredJob], key: str | None, request_hash: str) -> Acceptance:
        """Store new jobs, and let them wait."""
        client, names = jobs[0].client, list[str]()
        self._live.reserved[client] += len(jobs)

        def write(content: bytes) -> str:
            names.append(self.store.files.write(content))
            return names[-1]

        try:
            rows = await asyncio.to_thread(to_rows, jobs, write, key, request_hash)
            former_hash, former = await self.store.accept(rows)
        except BaseException:
            self.store.files.drop(names)
            raise
        finally:
            self._live.reserved[client] -= len(jobs)
        if former:
            self.store.files.drop(names)
            check_hash(former_hash, request_hash)
            return Acceptance(tuple(self._current(job) for job in former), replayed=True)
        for job in jobs:
            job.request = replace(job.request, params={}, optional_params={}, inputs={}, workflow={})
            job.durable = self.store.durable
            self._live.add(job)
        self._dispatcher.dispatch()
        return Acceptance(tuple(self._current(job) for job in jobs))

    async def _validated(self, submission: Submission, index: int | None) -> Submission:
        """Return a submission whose request is checked completely and has a seed.

        Args:
            submission: The submission.
            index: Its index in its batch, for errors.
        """
        try:
            return await self._checked(submission)
        except OctaboxError as error:
            if index is not None:
                error.message = f"Request {index} of the batch: {error.message}"
            raise

    async def _checked(self, submission: Submission) -> Submission:
        """Return a submission whose request is checked completely and has a seed."""
        if submission.webhook is not None:
            self._webhooks.check(submission.webhook)
        if submission.request.id in self._live:
            message = f"A request '{submission.request.id}' is waiting or running."
            raise InvalidParameterError(message, hint="Give another id, or none.", parameter="id")
        return replace(submission, request=await self._generation.validate(submission.request))

    def _current(self, job: StoredJob) -> StoredJob:
        """Return the state of a job that waits or runs from memory, with its position; others as they are."""
        live = self._live.get(job.id)
        if live is None:
            job.durable = self.store.durable
            return job
        if live.status == "queued":
            live.progress = replace(live.progress, position=self._live.position(live))
        return live


async def _end_event(number: int) -> AsyncGenerator[JobEvent, None]:
    """Yield the event of a job that has ended."""
    yield JobEvent(number, final=True)
