"""The jobs of this server, as the keeper of its lease changes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from octabox.errors import NotFoundError
from octabox.service.jobs.queue.controls import QueueControls
from octabox.service.jobs.queue.dispatcher import Dispatcher
from octabox.service.jobs.queue.live_jobs import LiveJobs
from octabox.service.jobs.queue.webhooks import Webhooks
from octabox.service.jobs.record import Notices, StoredJob
from octabox.service.protocols import JobObserver


class JobHolder:
    """Adopts, cancels and abandons jobs.

    Args:
        live: The jobs that wait or run.
        dispatcher: Runs the jobs.
        controls: Pauses models.
        webhooks: Sends notices.
        name_of: Returns the name of a model, by that or an alias; raises NotFoundError if this server does not have it.
        observer: Counts the jobs that are taken over.
    """

    def __init__(
        self,
        live: LiveJobs,
        dispatcher: Dispatcher,
        controls: QueueControls,
        webhooks: Webhooks,
        name_of: Callable[[str], str],
        observer: JobObserver | None = None,
    ) -> None:
        self._live, self._dispatcher, self._controls, self._webhooks = live, dispatcher, controls, webhooks
        self._name_of, self._observer = name_of, observer

    def holds(self, job_id: str) -> bool:
        """Return whether this server runs a job or lets it wait."""
        return job_id in self._live

    def serves(self, model: str) -> bool:
        """Return whether this server has a model."""
        try:
            self._name_of(model)
        except NotFoundError:
            return False
        return True

    async def refresh(self) -> None:
        """Learn what other servers have changed: which models are paused."""
        await self._controls.load()

    def notices(self, job: StoredJob) -> Notices | None:
        """Return what is to be sent when a job ends."""
        return self._webhooks.notices(job)

    async def adopt(self, waiting: Sequence[StoredJob], ended: Sequence[StoredJob]) -> None:
        """Let jobs wait here that were taken over, and send the notices of those that have ended by that."""
        if self._observer:
            self._observer.count_job_takeovers(len(waiting) + len(ended))
        if ended:
            self._webhooks.wake()
        for job in waiting:
            self._live.add(job)
        self._dispatcher.dispatch()

    async def cancel(self, ids: Sequence[str]) -> None:
        """Cancel jobs, as another server requests."""
        jobs = [job for job in map(self._live.get, ids) if job is not None]
        await asyncio.gather(*map(self._dispatcher.cancel, jobs))

    async def abandon(self) -> Sequence[str]:
        """Stop all jobs, since other servers have taken them over; return the ids of those that ran."""
        ran = [job.id for job in self._live.order.sent_of(None) if job.is_running]
        await self._dispatcher.abandon()
        return ran
