"""Send jobs to the engine in their order, and follow each run to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Collection, Iterable
from functools import partial

from octabox.errors import (
    CapacityError,
    GenerationCancelledError,
    OctaboxError,
    QueueFullError,
    ServerStoppingError,
    WorkerDiedError,
)
from octabox.security.clients import current_client, current_priority, in_background
from octabox.service.events import result_of
from octabox.service.jobs.errors import JobLostError, JobStoreError, worker_lost
from octabox.service.jobs.queue.live_jobs import LiveJobs
from octabox.service.jobs.queue.order.entries import Entries
from octabox.service.jobs.queue.order.model_holds import ModelHolds
from octabox.service.jobs.queue.positions import PositionPublisher
from octabox.service.jobs.queue.recorder import JobEnds, JobRecorder
from octabox.service.jobs.record import StoredJob
from octabox.service.jobs.store.store import JobStore
from octabox.service.protocols import GenerationService
from octabox.types import Generation, Progress

logger = logging.getLogger("octabox.jobs")

#: Seconds that a cancelled job has to end by itself.
CANCEL_TIMEOUT = 10.0

#: Seconds for which no jobs of a model are sent after the request of one could not be read.
STORE_PAUSE = 5.0


class Dispatcher:
    """Runs the jobs that wait.

    Args:
        generation: Runs requests.
        live: The jobs that wait or run.
        store: The store.
        recorder: Records the starts and the ends of jobs.
    """

    def __init__(self, generation: GenerationService, live: LiveJobs, store: JobStore, recorder: JobRecorder) -> None:
        self._generation, self._live, self._store, self._recorder = generation, live, store, recorder
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends = JobEnds(recorder, live, lambda job: self.dispatch([job.request.model]))
        self._returning: set[asyncio.Task[None]] = set()
        self._cancelled: set[str] = set()
        self._entries, self._positions = Entries(), PositionPublisher(live)
        self._holds = ModelHolds(lambda model: next(iter(self._send(model, 1)), None), self.dispatch)
        self._withdrawing: Counter[str] = Counter()
        self._closed = False

    def dispatch(self, models: Collection[str] | None = None) -> None:
        """Send the jobs that are next to the engine.

        Args:
            models: The models whose jobs have changed; None is any.
        """
        if self._closed:
            return
        for model in self._live.order.models(models) - self._holds.models:
            self._send(model)
        self._positions.publish()

    def _send(self, model: str, most: int | None = None) -> list[StoredJob]:
        """Send the jobs of a model that are next, `most` at most, and return them; none while some are taken back."""
        if self._closed or self._withdrawing[model] or model not in self._live.order.models([model]):
            return []
        selection = self._live.order.take_next(model, most)
        if selection.outranked:
            self._take_back(selection.outranked)
        for job in selection.jobs:
            task = asyncio.create_task(self._run(job, self._entries.add(job)), name=f"job {job.id}")
            self._tasks[job.id] = task
            task.add_done_callback(partial(self._forget, job))
        return [*selection.jobs]

    async def withdraw(self, jobs: Iterable[StoredJob]) -> None:
        """Take jobs that do not run yet back from the engine, since their order or a pause has changed; send the next ones."""
        await asyncio.shield(self._take_back(jobs))

    def _take_back(self, jobs: Iterable[StoredJob]) -> asyncio.Task[None]:
        """Begin to take jobs back, and return the task of that; no jobs of their models are sent meanwhile."""
        taken = [job for job in jobs if job.id in self._tasks and job.status == "queued"]
        # None is sent until all are back: the first one to come back may be the last in the new order.
        models = Counter({job.request.model for job in taken})
        self._withdrawing += models
        tasks = [self._tasks[job.id] for job in taken]
        cancelled = _cancel_all(tasks)

        async def wait() -> None:
            await cancelled
            self._withdrawing -= models
            self._returning.discard(task)
            self.dispatch(models)

        task = asyncio.create_task(wait(), name="withdrawal of jobs")
        self._returning.add(task)
        return task

    async def cancel(self, job: StoredJob) -> None:
        """Cancel a job, and wait for its end, for some seconds; to be awaited to its end, after which the job may run again."""
        self._cancelled.add(job.id)
        if task := self._tasks.get(job.id):
            await _cancel_all([task])
        if job.id in self._live:  # It was not sent yet, does not end, or its end is being stored.
            await _wait_shortly(self._ends.end(job, _cancelled(job)))
        self._cancelled.discard(job.id)

    async def abandon(self) -> None:
        """Stop all runs and record nothing, since other servers have taken the jobs over."""
        self._live.clear()
        await _cancel_all([*self._tasks.values()])

    async def close(self) -> None:
        """Stop sending jobs; those that run wait again for the next server."""
        self._closed = True
        self._positions.close()
        self._holds.close()
        await _cancel_all([*self._tasks.values()])
        await self._ends.finish(CANCEL_TIMEOUT)

    async def _run(self, job: StoredJob, turn: Awaitable[None]) -> None:
        """Run a job, from its turn to enter the engine's queue until it ends, or has to wait again."""
        outcome = await self._outcome(job, turn)
        if outcome is None and self._live.holds(job):
            self._recorder.wait_again(job)
        elif outcome is not None:
            await self._ends.end(job, outcome)

    def _forget(self, job: StoredJob, task: asyncio.Task[None]) -> None:
        """Forget the task of a job, and send the next ones; a task that was cancelled early has not run at all."""
        if self._tasks.get(job.id) is task:
            del self._tasks[job.id]
        self._live.order.take_back(job.id)
        self._entries.end(job)
        self._holds.note(job)
        if not task.cancelled() and (error := task.exception()):
            logger.error("The end of job %s is not stored", job.id, exc_info=error)
        self.dispatch([job.request.model])

    async def _outcome(self, job: StoredJob, turn: Awaitable[None]) -> Generation | OctaboxError | None:
        """Return the result or the error of a run; None if the job has to wait again."""
        _enter(job)
        try:
            await turn
            request = await self._store.request(job)
            return await result_of(self._generation.stream(request), partial(self._advance, job))
        except asyncio.CancelledError:
            return _cancelled(job) if job.id in self._cancelled else None
        except WorkerDiedError as error:  # It was run again, as any job is once.
            return worker_lost(error, job.request.model)
        except OctaboxError as error:
            return None if self._is_postponed(job, error) else error
        except Exception:
            logger.exception("Job %s failed", job.id)
            message = "An internal error occurred; see the log of the server."
            return OctaboxError(message, model=job.request.model)

    def _is_postponed(self, job: StoredJob, error: OctaboxError) -> bool:
        """Return whether a job waits again after an error, since it does not concern the job, and hold those of its model."""
        if isinstance(error, ServerStoppingError) or not self._store.is_open:
            self._closed = True
        elif isinstance(error, QueueFullError):
            self._holds.hold(job.request.model, error.pause)
        elif isinstance(error, CapacityError) and error.retry_after is not None:
            logger.info("Job %s waits, since its model cannot be loaded now: %s", job.id, error)
            self._holds.hold(job.request.model, error.retry_after)
        elif isinstance(error, JobStoreError) and not isinstance(error, JobLostError):
            logger.warning("Job %s waits, since its request cannot be read now: %s", job.id, error)
            self._holds.hold(job.request.model, STORE_PAUSE)
        else:
            return False
        return True

    def _advance(self, job: StoredJob, progress: Progress) -> None:
        """Record the progress of a job; with the first one it is in the queue of the engine."""
        self._entries.end(job)
        self._holds.note(job)
        if self._live.holds(job):  # A run that did not end when it was cancelled goes on.
            self._recorder.advance(job, progress)


def _cancel_all(tasks: list[asyncio.Task[None]]) -> Awaitable[None]:
    """Cancel tasks now, since they may run a moment later, and return what waits for their ends, for some seconds."""
    for task in tasks:
        task.cancel()
    return _wait_for_all(tasks)


async def _wait_for_all(tasks: list[asyncio.Task[None]]) -> None:
    """Wait for the ends of tasks, for some seconds."""
    if tasks:
        await asyncio.wait(tasks, timeout=CANCEL_TIMEOUT)


async def _wait_shortly(end: Awaitable[None]) -> None:
    """Wait until an end is stored, for some seconds: the store may not respond for long, and it is stored later then."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(end, CANCEL_TIMEOUT)


def _enter(job: StoredJob) -> None:
    """Let what the current task runs be of a job: of its client, with its priority, and in the background."""
    current_client.set(job.client)
    current_priority.set(job.priority)
    in_background.set(True)


def _cancelled(job: StoredJob) -> GenerationCancelledError:
    return GenerationCancelledError("The request was cancelled.", model=job.request.model)
