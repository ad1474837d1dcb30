"""Keep the lease of this server, and take over the jobs of servers that have ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from octabox.service.jobs.errors import JobStoreError
from octabox.service.jobs.record import Notices, StoredJob
from octabox.service.jobs.store.store import JobStore

logger = logging.getLogger("octabox.jobs")

#: Seconds of a lease. The clocks of the servers may differ by less.
LEASE = 30.0

#: Seconds between two renewals: of a server alone, and of one of several.
ALONE_INTERVAL, SHARED_INTERVAL = LEASE / 3, 2.0


class LeaseHolder(Protocol):
    """The jobs of this server."""

    async def refresh(self) -> None:
        """Learn what other servers have changed: which models are paused."""
        ...

    def notices(self, job: StoredJob) -> Notices | None:
        """Return what is to be sent when a job ends."""
        ...

    async def adopt(self, waiting: Sequence[StoredJob], ended: Sequence[StoredJob]) -> None:
        """Let jobs wait here that were taken over, and send the notices of those that have ended by that."""
        ...

    async def cancel(self, ids: Sequence[str]) -> None:
        """Cancel jobs, as another server requests."""
        ...

    async def abandon(self) -> Sequence[str]:
        """Stop all jobs, since other servers have taken them over; return the ids of those that ran."""
        ...

    def holds(self, job_id: str) -> bool:
        """Return whether this server runs a job or lets it wait."""
        ...

    def serves(self, model: str) -> bool:
        """Return whether this server has a model."""
        ...


class LeaseKeeper:
    """Renews the lease regularly.

    Args:
        store: The store.
        holder: The jobs of this server.
        ttl: Seconds that a job is kept after its end.
        clock: Returns the time in seconds since the epoch.
    """

    def __init__(self, store: JobStore, holder: LeaseHolder, ttl: float, clock: Callable[[], float]) -> None:
        self._store, self._holder, self._ttl, self._clock = store, holder, ttl, clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Join the servers that use the store, and take over the jobs that no server has."""
        now = self._clock()
        await self._store.register(now, now + LEASE)
        try:
            if not (await self._store.renew(now, now + LEASE)).others:
                await self._store.sweep(now)  # Before jobs run here, whose files may be without a row for a moment.
            await self.renew()
        except BaseException:
            await self._leave()
            raise
        self._task = asyncio.create_task(self._serve(), name="lease of the job store")

    async def renew(self) -> bool:
        """Renew the lease, take jobs over and cancel those that are to be; return whether there is no other server."""
        await self._store.resolve_uncertain(self._holder.holds)
        now = self._clock()
        state = await self._store.renew(now, now + LEASE)
        if not state.is_held:
            logger.warning("The lease of this server has ended, so that other servers have taken its jobs over")
            interrupted = await self._holder.abandon()
            await self._store.register(now, now + LEASE)
            await self._store.forgive_losses(interrupted)
            return False
        await self._holder.refresh()
        if state.cancelled:
            await self._holder.cancel(state.cancelled)
        models = None if not state.others else [each for each in state.orphans if self._holder.serves(each)]
        if state.orphans and (models != [] or any(state.orphans.values())):
            waiting, ended = await self._store.take_over(models, now, self._ttl, self._holder.notices)
            await self._holder.adopt(waiting, ended)
        return not state.others

    async def stop(self) -> None:
        """Leave the servers that use the store."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        await self._leave()

    async def _leave(self) -> None:
        """Leave the servers that use the store, if it responds."""
        try:
            await self._store.release()
        except JobStoreError as error:
            logger.warning("The jobs of this server wait for the end of its lease: %s", error)

    async def _serve(self) -> None:
        """Renew the lease until it is cancelled; whatever fails is tried again, since others take the jobs over otherwise."""
        interval = SHARED_INTERVAL
        while True:
            await asyncio.sleep(interval)
            interval = SHARED_INTERVAL
            try:
                interval = ALONE_INTERVAL if await self.renew() else SHARED_INTERVAL
            except JobStoreError as error:
                logger.warning("The lease of this server cannot be renewed now: %s", error)
            except Exception:
                logger.exception("The lease of this server cannot be renewed now")
