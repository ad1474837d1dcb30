"""The queue of background jobs: accept, find, change and end them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace

from octabox.errors import GenerationNotFoundError, NotFoundError
from octabox.security.clients import may_see, visible_client
from octabox.security.urls import UrlGuard
from octabox.service.jobs.errors import JobStateError
from octabox.service.jobs.job import STATUSES
from octabox.service.jobs.leases.following import status_changes, wait_for_end
from octabox.service.jobs.leases.keeper import LeaseKeeper
from octabox.service.jobs.queue.acceptor import Acceptor, QueueLimits, check_key
from octabox.service.jobs.queue.controls import QueueControls
from octabox.service.jobs.queue.dispatcher import CANCEL_TIMEOUT, Dispatcher
from octabox.service.jobs.queue.event_log import JobEvent, end_number, wait_number
from octabox.service.jobs.queue.holder import JobHolder
from octabox.service.jobs.queue.live_jobs import LiveJobs
from octabox.service.jobs.queue.recorder import JobRecorder
from octabox.service.jobs.queue.run_times import RunTimes
from octabox.service.jobs.queue.webhooks import Webhooks
from octabox.service.jobs.record import Acceptance, JobQuery, Kind, StoredJob, Submission
from octabox.service.jobs.results import JobResults
from octabox.service.jobs.store.store import JobStore
from octabox.service.protocols import GenerationService, JobObserver

_HINT = "A background job is kept while it waits or runs, and for a while after its end."


class JobQueue:
    """Jobs that are stored when they are accepted, and run in their order, which `controls` change; `results` has their files.

    Args:
        generation: Runs requests.
        store: Where they are stored. It is opened when it is first needed.
        limits: Limits of the queue.
        webhook_key: Key of the signatures of webhooks.
        guard: Checks the URLs of webhooks.
        clock: Returns the time in seconds since the epoch.
        observer: Measures the jobs.
        name_of: Returns the name of a model, by that or an alias; raises NotFoundError if this server does not have it, so
            that its jobs are left to other servers.
    """

    def __init__(
        self,
        generation: GenerationService,
        store: JobStore,
        limits: QueueLimits | None = None,
        webhook_key: bytes = b"",
        guard: UrlGuard | None = None,
        clock: Callable[[], float] = time.time,
        observer: JobObserver | None = None,
        name_of: Callable[[str], str] = str,
    ) -> None:
        limits = limits or QueueLimits()
        self.store, self._clock, self._name_of = store, clock, name_of
        self._live, self._times = LiveJobs(limits.per_model), RunTimes()
        self._webhooks = webhooks = Webhooks(store, webhook_key, guard, clock)
        recorder = JobRecorder(store, self._live, self._times, webhooks, limits, clock, observer)
        self._dispatcher = Dispatcher(generation, self._live, store, recorder)
        self._acceptor = Acceptor(
            generation, store, self._live, self._times, webhooks, limits, clock, name_of, self._dispatcher.dispatch
        )
        self.controls = QueueControls(self._live, store, self._dispatcher, name_of)
        holder = JobHolder(self._live, self._dispatcher, self.controls, webhooks, name_of, observer)
        self.lease = LeaseKeeper(store, holder, limits.ttl, clock)
        self.results = JobResults(store, lambda: self.is_open, limits.ttl, clock)
        self._opening = asyncio.Lock()
        self._sending: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the store is open."""
        return self._sending is not None

    async def open(self) -> None:
        """Open the store, and let the jobs that it contains wait.

        Raises:
            OctaboxError: It cannot be opened, as `StoreConnection.open` raises it.
        """
        if not self.is_open:
            # A client that leaves does not end it half-way.
            await asyncio.shield(asyncio.ensure_future(self._open()))

    async def _open(self) -> None:
        """Open the store, unless it is open, and let its jobs wait."""
        async with self._opening:
            if not self.is_open:
                await _open_store(self.store, self._live, self._times, self.lease)
                self._sending = asyncio.create_task(self._webhooks.serve(), name="webhooks")
        self._dispatcher.dispatch()

    async def accept(
        self, submissions: Sequence[Submission], key: str | None = None, *, batch: bool = False
    ) -> Acceptance:
        """Check and store requests, which then run in the background; either all are accepted or none.

        With the same idempotency key of a client, the same requests are accepted once.

        Raises:
            OctaboxError: A request is invalid, the client has too many jobs, or they cannot be stored.
        """
        check_key(key)
        await self.open()
        return await self._acceptor.accept(submissions, key, batch=batch)

    async def retry(self, job_id: str) -> StoredJob:
        """Let a job that has failed or was cancelled wait again, at the end of the queue; its errors are `Acceptor.retry`'s."""
        again = await self._acceptor.retry(await self.find(job_id))
        return self._live.current(again)[0]

    async def find(self, job_id: str, kind: Kind | None = None) -> StoredJob:
        """Return a job that was started by an API; by any, if `kind` is None.

        Raises:
            GenerationNotFoundError: There is no such job, or it is no longer kept.
        """
        await self.open()
        job = self._live.get(job_id) or await self.store.find(job_id)
        is_hidden = job is not None and (kind not in {None, job.kind} or not may_see(job.client))
        if job is None or is_hidden or (job.expires is not None and job.expires <= self._clock()):
            raise GenerationNotFoundError(f"There is no job '{job_id}'.", hint=_HINT, parameter="id")
        return self._live.current(job)[0]

    async def list(self, query: JobQuery) -> list[StoredJob]:
        """Return the jobs of a query, of those that the request may see."""
        await self.open()
        seen = replace(query, client=visible_client.get() or query.client)
        return self._live.current(*await self.store.find_all(await _with_name(seen, self._name_of)))

    async def counts(self, batch: str | None = None) -> dict[str, int]:
        """Return how many jobs there are in each status, of those that the request may see; of a batch, if one is named."""
        await self.open()
        counts = await self.store.count_by_status(visible_client.get(), batch)
        return {status: counts.get(status, 0) for status in STATUSES}

    async def follow(self, job_id: str, after: int | None = None) -> AsyncGenerator[JobEvent, None]:
        """Return the events of a job after one of them, by default its current status first; the last one is its end."""
        job = await self.find(job_id)
        return self._live.log(job).follow(after) if self._live.holds(job) else _status_events(self.store, job)

    async def cancel(self, job_id: str) -> StoredJob:
        """Cancel a job that waits or runs; one that has ended stays as it is."""
        job = await self.find(job_id)
        if self._live.holds(job):
            await asyncio.shield(asyncio.ensure_future(self._dispatcher.cancel(job)))  # A client may leave.
        elif job.ended is None:
            await self.store.request_cancel(job)
            job = await wait_for_end(self.store, job, CANCEL_TIMEOUT)
        return job

    async def delete(self, job_id: str) -> StoredJob:
        """Cancel a job, and delete it with its files.

        Raises:
            JobStateError: Another server runs it, and has not ended it yet; or it was retried meanwhile.
        """
        job = await self.cancel(job_id)
        if job.ended is None:
            message = f"Job '{job_id}' is being cancelled by the server that runs it."
            raise JobStateError(message, hint="Delete it again when it has ended.", parameter="id")
        if not await self.store.remove([job]):
            await _check_gone(self.store, job)
        return job

    def poll_after(self, job: StoredJob) -> float:
        """Return after how many seconds a client should ask for a job again."""
        return self._times.poll_after(job, self._clock())

    async def close(self) -> None:
        """Stop running jobs, which wait for the next server, and close the store."""
        async with self._opening:
            await self._dispatcher.close()
            await self.lease.stop()
            if self._sending is not None:
                self._sending.cancel()
                await asyncio.gather(self._sending, return_exceptions=True)
            await self.store.close()


async def prune(queue: JobQueue, query: JobQuery) -> int:
    """Delete the ended jobs of a query, but those that are retried meanwhile, and return how many there were."""
    return await queue.store.remove([job for job in await queue.list(query) if job.ended is not None])


async def _open_store(store: JobStore, live: LiveJobs, times: RunTimes, lease: LeaseKeeper) -> None:
    """Open a store, and read what it contains; where that fails it is closed again, since the next request opens it again."""
    try:
        await store.open()
        live.order.place = await store.last_place()
        times.load(await store.run_times())
        await lease.start()
    except BaseException:
        await store.close()
        raise


async def _check_gone(store: JobStore, job: StoredJob) -> None:
    """Check that a job that had ended was deleted by another request, whether its id is used again or not.

    Raises:
        JobStateError: It was retried.
    """
    found = await store.find(job.id)
    if found is not None and found.number == job.number:
        message = f"Job '{job.id}' is {found.status} again, since another request has retried it."
        raise JobStateError(message, hint="Delete it again to cancel it.", parameter="id")


async def _with_name(query: JobQuery, name_of: Callable[[str], str]) -> JobQuery:
    """Return a query with the name of its model instead of an alias."""
    if query.model is None:
        return query
    with contextlib.suppress(NotFoundError):  # The model may be gone, and its jobs are not.
        query = replace(query, model=await asyncio.to_thread(name_of, query.model))
    return query


async def _status_events(store: JobStore, job: StoredJob) -> AsyncGenerator[JobEvent, None]:
    """Yield the events of a job that has ended, or that another server runs: the changes of its status."""
    count = 0
    async for current in status_changes(store, job):
        count += 1
        is_final = current.ended is not None
        yield JobEvent(
            end_number(current.attempts) if is_final else wait_number(current.attempts) + count, final=is_final
        )
