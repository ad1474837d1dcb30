"""Accept submissions: check them, and store them as jobs that wait."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from octabox.errors import InvalidParameterError, OctaboxError
from octabox.security.clients import current_client, visible_client
from octabox.service.jobs.errors import JobStateError, UncertainCommitError
from octabox.service.jobs.queue.acceptance import (
    check_hash,
    check_ids,
    check_room,
    hash_submissions,
    name_models,
    new_jobs,
    owner_of,
    to_rows,
    waiting_again,
)
from octabox.service.jobs.queue.live_jobs import LiveJobs
from octabox.service.jobs.queue.run_times import RunTimes
from octabox.service.jobs.queue.webhooks import Webhooks
from octabox.service.jobs.record import Acceptance, StoredJob, Submission
from octabox.service.jobs.store.membership import UncertainJobs
from octabox.service.jobs.store.schema.serialization import without_content
from octabox.service.jobs.store.store import JobStore
from octabox.service.protocols import GenerationService

#: Statuses of jobs that can run again.
RETRIED = ("failed", "cancelled")

#: Maximum length of an idempotency key.
MAX_KEY_LENGTH = 255


@dataclass(frozen=True)
class QueueLimits:
    """Limits of the queue.

    Args:
        ttl: Seconds that a job is kept after its end.
        waiting: How many jobs may wait.
        per_client: How many jobs of a client may wait or run; 0 is no limit.
        per_model: How many jobs the engine's queue of a model may have.
        bytes: How many bytes the results of all jobs may have; the oldest are deleted first. 0 is no limit.
    """

    ttl: float = 24 * 3600
    waiting: int = 10_000
    per_client: int = 0
    per_model: int = 16
    bytes: int = 0


def check_key(key: str | None) -> None:
    """Check an idempotency key.

    Raises:
        InvalidParameterError: It is empty or too long.
    """
    if key is not None and not 0 < len(key) <= MAX_KEY_LENGTH:
        message = f"'Idempotency-Key' must have 1 to {MAX_KEY_LENGTH} characters, not {len(key)}."
        raise InvalidParameterError(message, parameter="Idempotency-Key")


class Acceptor:
    """Makes jobs that wait, of submissions and of jobs that have ended.

    Args:
        generation: Checks requests.
        store: The store.
        live: The jobs that wait or run.
        times: How long runs take.
        webhooks: Checks the URLs of webhooks.
        limits: Limits of the queue.
        clock: Returns the time in seconds since the epoch.
        name_of: Returns the name of a model, by that or an alias.
        on_queued: Called once jobs wait.
    """

    def __init__(
        self,
        generation: GenerationService,
        store: JobStore,
        live: LiveJobs,
        times: RunTimes,
        webhooks: Webhooks,
        limits: QueueLimits,
        clock: Callable[[], float],
        name_of: Callable[[str], str],
        on_queued: Callable[[], None],
    ) -> None:
        self._generation, self._store, self._live, self._times = generation, store, live, times
        self._webhooks, self._limits, self._clock, self._name_of = webhooks, limits, clock, name_of
        self._on_queued = on_queued

    async def accept(self, submissions: Sequence[Submission], key: str | None, *, batch: bool) -> Acceptance:
        """Check and store submissions; its arguments and errors are those of `JobQueue.accept`."""
        if key is None:
            return await self._accept_new(submissions, None, "", batch=batch)
        request_hash = await asyncio.to_thread(hash_submissions, submissions, batch=batch)
        if former := await _find_former(self._store, self._live, key, request_hash, self._clock()):
            return former
        try:
            return await self._accept_new(submissions, key, request_hash, batch=batch)
        except OctaboxError:
            # Another request with this key may have been stored meanwhile, and have taken the ids or the last room.
            if former := await _find_former(self._store, self._live, key, request_hash, self._clock()):
                return former
            raise

    async def _accept_new(
        self, submissions: Sequence[Submission], key: str | None, request_hash: str, *, batch: bool
    ) -> Acceptance:
        """Check and store submissions whose idempotency key was not used before."""
        client = current_client.get()
        check_ids(submissions)
        checked = [await self._validated(each, index if batch else None) for index, each in enumerate(submissions)]
        checked = await asyncio.to_thread(name_models, checked, self._name_of)
        check = self._check_room(client, checked[0].request.model, len(checked))
        # At once, so that requests that come meanwhile find no more room than there is.
        self._live.reserve_room(client, len(checked))
        name = f"batch_{uuid.uuid4().hex}" if batch else None
        owner = owner_of(client, self._store.secret)
        jobs = new_jobs(checked, name, client, owner, self._live.order.reserve(len(checked)), self._clock())
        # A client that leaves must not separate the jobs on disk from those in memory.
        return await asyncio.shield(asyncio.ensure_future(self._insert(jobs, key, request_hash, check)))

    async def retry(self, job: StoredJob) -> StoredJob:
        """Let a job that has failed or was cancelled wait again, at the end of the queue.

        Raises:
            JobStateError: It has another status.
        """
        if job.status not in RETRIED or job.id in self._live:
            message = f"Job '{job.id}' is {job.status}; only failed and cancelled jobs can be retried."
            raise JobStateError(message, hint="To run the request once more, submit it again.", parameter="id")
        check = self._check_room(job.client, job.request.model, 1)
        again = waiting_again(job, self._live.order.reserve(1), self._store.server)
        self._live.add(again)  # Before it is stored, so that it is retried once.
        return await asyncio.shield(asyncio.ensure_future(self._queue_again(again, check)))

    async def _queue_again(self, job: StoredJob, check: Callable[[int, int], None]) -> StoredJob:
        """Store that a job waits again; if that fails, it does not.

        Raises:
            JobStateError: Another server lets it wait.
            JobQuotaError: The client has too many jobs at all servers.
            QueueFullError: There are too many jobs at all servers.
            JobStoreError: It could not be stored.
        """
        empty = dict.fromkeys(("result", "error", "ended", "expires", "started"))
        stored = False
        try:
            stored = await self._store.queue_again(job, RETRIED, check, losses=0, place=job.place, **empty)
        except UncertainCommitError:
            self._store.note_uncertain(UncertainJobs((job.id,), job.created))
            raise
        finally:
            if not stored:
                self._live.remove(job)
        if not stored:
            raise JobStateError(f"Job '{job.id}' was retried or deleted by another request.", parameter="id")
        self._on_queued()  # Here, since the client may have left.
        return job

    def _check_room(self, client: str, model: str, count: int) -> Callable[[int, int], None]:
        """Check that more jobs of a client may wait, and return the same check for the jobs of all servers."""
        limits, seconds = self._limits, self._times.seconds(model)

        def check(waiting: int, own: int) -> None:
            check_room(waiting, own, count, seconds, limits.waiting, limits.per_client)

        check(len(self._live), self._live.of_client(client))
        return check

    async def _insert(
        self, jobs: Sequence[StoredJob], key: str | None, request_hash: str, check: Callable[[int, int], None]
    ) -> Acceptance:
        """Store new jobs, and let them wait; until then, the room for them is reserved."""
        try:
            shown = await asyncio.to_thread(lambda: [without_content(job.request) for job in jobs])
            former_hash, former, number = await _store_jobs(self._store, jobs, key, request_hash, check)
            if former:
                return _replay(self._live, former, former_hash, request_hash)
            for index, job in enumerate(jobs):
                job.number, job.server = number + index, self._store.server
                # The media of a request may be many times larger than what is kept of it.
                job.request = shown[index]
                self._live.add(job)
        finally:
            self._live.reserve_room(jobs[0].client, -len(jobs))
        accepted = Acceptance(tuple(self._live.current(*jobs)))
        self._on_queued()  # Here, since the client may have left.
        return accepted

    async def _validated(self, submission: Submission, index: int | None) -> Submission:
        """Return a submission whose request is checked; errors name its index in its batch, if it has one."""
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


async def _find_former(store: JobStore, live: LiveJobs, key: str, request_hash: str, now: float) -> Acceptance | None:
    """Return the jobs that were accepted with the client's idempotency key; None if there are none.

    Raises:
        IdempotencyError: They are of another request.
    """
    former_hash, former = await store.find_key(current_client.get(), key, now)
    return _replay(live, former, former_hash, request_hash) if former else None


def _replay(live: LiveJobs, former: Sequence[StoredJob], former_hash: str, request_hash: str) -> Acceptance:
    """Return the jobs that were accepted with the same key.

    Raises:
        IdempotencyError: They are of another request.
    """
    check_hash(former_hash, request_hash)
    return Acceptance(tuple(live.current(*former)), replayed=True)


async def _store_jobs(
    store: JobStore,
    jobs: Sequence[StoredJob],
    key: str | None,
    request_hash: str,
    check: Callable[[int, int], None],
) -> tuple[str, list[StoredJob], int]:
    """Store new jobs with their files, and return as `JobStore.accept` does."""
    names = list[str]()

    def write(content: bytes) -> str:
        names.append(store.files.write(content))
        return names[-1]

    try:
        rows = await asyncio.to_thread(to_rows, jobs, write, key, request_hash)
        former_hash, former, number = await store.accept(rows, visible_client.get(), check)
    except UncertainCommitError:
        store.note_uncertain(UncertainJobs(tuple(job.id for job in jobs), jobs[0].created, tuple(names)))
        raise
    except BaseException:
        await store.drop_files(names)
        raise
    if former:
        await store.drop_files(names)
    return former_hash, former, number
