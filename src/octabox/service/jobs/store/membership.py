"""The store of background jobs as one of the servers that share it sees it: its lease, and the jobs of the others."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octabox.service.jobs.errors import JobStoreError
from octabox.service.jobs.record import Notices, StoredJob
from octabox.service.jobs.store.connection import StoreConnection

if TYPE_CHECKING:
    from octabox.service.jobs.store.leases import LeaseState
    from octabox.service.jobs.store.presence import Presence


@dataclass(frozen=True)
class UncertainJobs:
    """Jobs of which it is not known whether they are stored.

    Args:
        ids: Their ids.
        created: When they were created, in seconds since the epoch.
        files: The files that were written for them.
    """

    ids: tuple[str, ...]
    created: float
    files: tuple[str, ...] = ()


class StoreMembership(StoreConnection):
    """A store that several servers may use."""

    #: The jobs of which it is not known whether they are stored.
    _uncertain: tuple[UncertainJobs, ...] = ()

    #: When the lease was last renewed, and until when the ends of other leases are disregarded, in seconds since the epoch.
    _renewed: float | None = None
    _patient_until = 0.0

    async def register(self, now: float, until: float) -> None:
        """Join the servers that use the store, with a new id.

        Args:
            now: The time in seconds since the epoch.
            until: When the lease ends.

        Raises:
            JobStoreError: Another one has another folder.
        """
        server = uuid.uuid4().hex
        entry = await asyncio.to_thread(self.presence.enter, server, until)
        try:
            await self._run("register", entry, now)
        except JobStoreError:
            await asyncio.to_thread(self.presence.leave)
            raise
        self.server, self._renewed = server, now

    async def renew(self, now: float, until: float) -> LeaseState:
        """Renew the lease of this server; remove the servers that have ended.

        Those are the ones of this machine whose process has ended, and those of others whose lease has. Where this server did
        not renew its own lease for a while, the others may not have been able to either: they get the time of a lease for it.

        Args:
            now: The time in seconds since the epoch.
            until: When the lease ends.
        """
        state: LeaseState = await self._run("renew", self.server, until)
        if self._renewed is not None and not 0 <= now - self._renewed < (until - now) / 2:
            self._patient_until = until
        self._renewed = now
        ended, running = await asyncio.to_thread(self.presence.ended, state.others)
        late = [each.id for each in state.others if each.lease_until <= now and each.id not in running]
        late = late if now >= self._patient_until else []
        if ended or late:
            await self._run("remove_ended", ended, late, now)
            state = await self._run("renew", self.server, until)
        self.is_shared = bool(state.others)
        return state

    def note_uncertain(self, jobs: UncertainJobs) -> None:
        """Note jobs of which it is not known whether they are stored; `resolve_uncertain` finds out."""
        self._uncertain += (jobs,)

    async def resolve_uncertain(self, is_held: Callable[[str], bool]) -> None:
        """Let jobs of which it was not known whether they are stored be taken over, and delete the files of those that are not.

        Args:
            is_held: Returns whether this server runs a job or lets it wait: it was stored by a later request.
        """
        for each in self._uncertain:
            ids = [job_id for job_id in each.ids if not is_held(job_id)]
            if not await self._run("disown", ids, each.created, self.server) and len(ids) == len(each.ids):
                await self.drop_files(each.files)
            self._uncertain = tuple(other for other in self._uncertain if other is not each)

    async def release(self) -> None:
        """Leave the servers that use the store; others may take the jobs of this one over."""
        await self._run("release", self.server)
        await asyncio.to_thread(self.presence.leave)

    async def take_over(
        self,
        models: Sequence[str] | None,
        now: float,
        ttl: float,
        notices_of: Callable[[StoredJob], Notices | None],
    ) -> tuple[list[StoredJob], list[StoredJob]]:
        """Take over the jobs that no server has, and return those that wait, and those that have ended by that.

        Args:
            models: Their models; None is all.
            now: The time in seconds since the epoch.
            ttl: Seconds that a job is kept after its end.
            notices_of: Returns what is to be sent when a job ends.
        """
        taken: tuple[list[StoredJob], list[StoredJob]] = await self._run(
            "take_over", self.server, models, now, now + ttl, notices_of
        )
        return taken

    def forgive_losses(self, ids: Sequence[str]) -> asyncio.Future[None]:
        """Let the runs of jobs that were taken over from this server not count as ended with it, since it has not ended."""
        return self._run("forgive_losses", ids, self.server)

    def request_cancel(self, job: StoredJob) -> asyncio.Future[None]:
        """Let the server of a job cancel it; one that no server has is cancelled by the first one that looks for those."""
        return self._run("request_cancel", job.number)

    async def paused(self) -> set[str]:
        """Return the models that one of the servers has paused."""
        models: set[str] = await self._run("paused")
        return models

    async def change_paused(self, added: Collection[str] = (), removed: Collection[str] | None = ()) -> set[str]:
        """Pause models and resume others, at all servers, and return those that are paused then.

        Args:
            added: The models to pause.
            removed: The models to resume; None is all.
        """
        models: set[str] = await self._run("change_paused", added, removed)
        return models

    @property
    def presence(self) -> Presence:
        """The lock that shows other servers of this machine that this one runs.

        Raises:
            JobStoreError: The store is not open.
        """
        if self._presence is None:
            raise JobStoreError("The store of background jobs is not open.")
        return self._presence
