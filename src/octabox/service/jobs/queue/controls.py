"""Change the order of the jobs that wait, pause models, and mark outputs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from octabox.errors import InvalidParameterError
from octabox.service.jobs.errors import JobStateError, OutputNotFoundError
from octabox.service.jobs.queue.dispatcher import Dispatcher
from octabox.service.jobs.queue.live_jobs import LiveJobs
from octabox.service.jobs.queue.order.job_order import ALL
from octabox.service.jobs.record import MAX_TAGS, MarkChange, Marks, StoredJob
from octabox.service.jobs.store.store import JobStore

#: Where a job can be moved to.
Position = Literal["first", "last", "before", "after"]


class QueueControls:
    """Changes the order of an open queue.

    Args:
        live: The jobs that wait or run.
        store: The store.
        dispatcher: Runs the jobs.
        name_of: Returns the name of a model, by that or an alias; raises NotFoundError if there is none.
    """

    def __init__(
        self, live: LiveJobs, store: JobStore, dispatcher: Dispatcher, name_of: Callable[[str], str] = str
    ) -> None:
        self._live, self._store, self._dispatcher, self._name_of = live, store, dispatcher, name_of

    @property
    def paused(self) -> list[str]:
        """The paused models; ``*`` is all."""
        return sorted(self._live.order.paused)

    async def load(self) -> None:
        """Pause and resume models as the store states, which any of the servers that share it may have changed."""
        await self._apply(await self._store.paused())

    async def pause(self, model: str | None = None) -> None:
        """Start no more jobs of a model, by its name or an alias, or of all models; those that run go on.

        Raises:
            NotFoundError: There is no such model.
        """
        if model is not None:
            model = await asyncio.to_thread(self._name_of, model)
        await self._apply(await self._store.change_paused(added=[model or ALL]))

    async def resume(self, model: str | None = None) -> None:
        """Start jobs of a model again; without a model, those of all.

        Raises:
            JobStateError: All models are paused, and only one is to be resumed.
            NotFoundError: There is no such model, and none was paused by this name.
        """
        await self.load()
        if model is not None and model not in self._live.order.paused:
            model = await asyncio.to_thread(self._name_of, model)
        if model is not None and ALL in self._live.order.paused:
            raise JobStateError("All models are paused.", hint="Resume all: leave out 'model'.", parameter="model")
        await self._apply(await self._store.change_paused(removed=[model] if model else None))

    async def change(
        self,
        job: StoredJob,
        priority: int | None = None,
        position: Position | None = None,
        other: StoredJob | None = None,
    ) -> None:
        """Change the priority or the place of a job that waits.

        Args:
            job: The job.
            priority: Its new priority.
            position: Its new place among the jobs that wait.
            other: The job that it is to be before or after.

        Raises:
            JobStateError: One of the jobs does not wait, or waits at another server.
        """
        for each in (job, other):
            if each is not None:
                self._check_waits(each)
        if priority is not None:
            self._live.order.change(job, priority=priority)
            await self._store.change(job, priority=priority)
        if position is not None:
            await self._move(job, position, other)
        await self._dispatcher.withdraw(self._live.order.sent_of([job.request.model]))

    async def mark(self, job: StoredJob, index: int, change: MarkChange) -> Marks:
        """Change the marks of an output of a job, and return them.

        Args:
            job: The job.
            index: Index of the output, from 0.
            change: The change.

        Raises:
            OutputNotFoundError: The job has no such output, or it was deleted.
            InvalidParameterError: The output would have too many tags.
        """
        count = len(job.result.artifacts) if job.result is not None else 0
        before = job.marks.get(index, Marks())
        message = f"Job '{job.id}' has no output {index}."
        if not 0 <= index < count or before.deleted:
            left = [str(each) for each in range(count) if not job.marks.get(each, Marks()).deleted]
            hint = f"Its outputs are {', '.join(left)}." if left else f"It is {job.status}, and has no outputs."
            raise OutputNotFoundError(message, hint=hint, parameter="index")
        marks = change.apply(before)
        if len(marks.tags) > MAX_TAGS:
            problem = f"Output {index} of job '{job.id}' would have {len(marks.tags)} tags; the maximum is {MAX_TAGS}."
            raise InvalidParameterError(problem, hint="Remove some of its tags.", parameter="add_tags")
        stored = await self._store.mark(job, index, change)
        if stored is None:
            raise OutputNotFoundError(message, hint="Another request has just deleted it.", parameter="index")
        return stored

    def _check_waits(self, job: StoredJob) -> None:
        """Check that a job waits here.

        Raises:
            JobStateError: It does not.
        """
        if job.status != "queued":
            message = f"Job '{job.id}' is {job.status}; only jobs that wait have a place in the queue."
            raise JobStateError(message, parameter="id")
        if job.id not in self._live:
            message = f"Job '{job.id}' waits at another server, which has the order of its jobs."
            hint = "Change it there, or cancel the job and submit it again here."
            raise JobStateError(message, hint=hint, parameter="id")

    async def _apply(self, paused: set[str]) -> None:
        """Hold the jobs of models that are paused now, and send those of models that no longer are."""
        before, self._live.order.paused = self._live.order.paused, paused
        if held := paused - before:
            await self._dispatcher.withdraw(self._live.order.sent_of(None if ALL in held else held))
        if before - paused:
            self._dispatcher.dispatch()

    async def _move(self, job: StoredJob, position: Position, other: StoredJob | None) -> None:
        """Give a job another place, unless it has ended while its priority was stored."""
        self._check_waits(job)
        if other is not None:
            place = other.place + (position == "after")
            self._live.order.make_room(place)
            self._live.order.change(job, place=place)
            await self._store.move(job, place)
            return
        place = self._live.order.reserve_first() if position == "first" else self._live.order.reserve(1)
        self._live.order.change(job, place=place)
        await self._store.change(job, place=job.place)
