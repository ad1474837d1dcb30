"""The store of background jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from octabox.service.jobs.record import JobQuery, MarkChange, Marks, Notices, StoredJob
from octabox.service.jobs.store.deliveries import StoredDeliveries
from octabox.service.jobs.store.membership import StoreMembership
from octabox.service.jobs.store.schema.rows import end_values
from octabox.service.jobs.store.schema.serialization import decode_request
from octabox.types import GenerationRequest

if TYPE_CHECKING:
    from octabox.service.jobs.store.schema.statements import RoomCheck

#: How many jobs a transaction deletes: databases limit the number of values in a statement, PostgreSQL to 65,535.
MAX_REMOVED = 500

#: Seconds in which a server that has written a file of a job stores the job; a file without one is deleted later.
MIN_AGE = 600.0


class JobStore(StoreMembership, StoredDeliveries):
    """Jobs in a database, and their files in a folder."""

    async def sweep(self, now: float) -> None:
        """Delete expired jobs, and files without a job but the newest: those may be of a server that has started meanwhile."""
        await self.remove_expired(now)
        known = await self._run("known_files")
        await asyncio.to_thread(self.files.sweep, known, MIN_AGE)

    async def accept(
        self, rows: Sequence[Mapping[str, Any]], visible: str | None, check: RoomCheck | None = None
    ) -> tuple[str, list[StoredJob], int]:
        """Insert new jobs, and return the number of the first one.

        If their idempotency key was used before, return the hash of that submission and its jobs instead.

        Args:
            rows: The jobs.
            visible: The client whose ended jobs with the same ids may be replaced; None is any.
            check: Checks that more jobs may wait, given how many of all servers do; called in a thread, only if there are
                other servers, since the jobs of this one are known.
        """
        rows = [{**row, "server": self.server} for row in rows]
        dropped, former, jobs, number = await self._run("accept", rows, visible, check if self.is_shared else None)
        await self.drop_files(dropped)
        return former, jobs, number

    async def find_key(self, client: str, key: str, now: float) -> tuple[str, list[StoredJob]]:
        """Return the hash of the submission with a client's idempotency key, and its jobs that have not expired."""
        former: tuple[str, list[StoredJob]] = await self._run("find_key", client, key, now)
        return former

    async def request(self, job: StoredJob) -> GenerationRequest:
        """Return the request of a job.

        Raises:
            JobLostError: The job, or a file of it, is missing.
            JobStoreError: The store cannot be read now.
        """
        text, places = await self._run("request_of", job.id, job.number)
        return await asyncio.to_thread(decode_request, text, places, self.files.read)

    def change(self, job: StoredJob, **values: Any) -> asyncio.Future[bool]:
        """Change columns of a job of this server, unless it has ended; return whether it was changed."""
        return self._run("change", job.number, values, self.server)

    async def mark(self, job: StoredJob, index: int, change: MarkChange) -> Marks | None:
        """Change the marks of an output of a job, and return them; None if the job or the output was deleted."""
        found = [
            await asyncio.to_thread(self.files.find, each) for each in job.files[index : index + 1] if change.deleted
        ]
        size = sum(each.size for each in found if each)
        marks: Marks | None = await self._run("mark", job.number, index, change, size)
        return marks

    def queue_again(
        self, job: StoredJob, statuses: Sequence[str], check: RoomCheck | None = None, **values: Any
    ) -> asyncio.Future[bool]:
        """Let a job with one of these statuses wait at this server, if `accept`'s check allows; return whether it had one."""
        return self._run("queue_again", job.number, statuses, values, self.server, check if self.is_shared else None)

    async def end(self, job: StoredJob, notices: Notices | None, seconds: float | None, size: int) -> bool:
        """Record the end of a job.

        Args:
            job: The job.
            notices: The webhooks to send.
            seconds: The seconds of a run of its model.
            size: How many bytes its files have.

        Returns:
            Whether it was a job of this server; nothing is recorded otherwise.
        """
        values = {**end_values(job), "bytes": size}
        recorded: bool = await self._run("end", job.number, values, notices, seconds, self.server)
        return recorded

    async def trim(self, limit: int, keep: str) -> None:
        """Let the oldest results expire until all have no more bytes than the limit; that of the job `keep` is the last."""
        await self.drop_files(await self._run("trim", limit, keep))

    async def result_bytes(self) -> int:
        """Return how many bytes the results of all jobs have."""
        size: int = await self._run("result_bytes")
        return size

    async def find_by_file(self, name: str) -> StoredJob | None:
        """Return the job with a file of this name among its results; None if there is none."""
        found: StoredJob | None = await self._run("find_by_file", name)
        return found

    async def move(self, job: StoredJob, place: int) -> None:
        """Give a job a place; those from there on are moved back."""
        shifted = self._run("shift", place, self.server)
        await asyncio.gather(shifted, self.change(job, place=place))

    async def find(self, job_id: str) -> StoredJob | None:
        """Return a job; None if there is none with this id."""
        found: StoredJob | None = await self._run("find", job_id)
        return found

    async def find_all(self, query: JobQuery) -> list[StoredJob]:
        """Return the jobs of a query."""
        found: list[StoredJob] = await self._run("find_all", query)
        return found

    async def count_by_status(self, client: str | None = None, batch: str | None = None) -> dict[str, int]:
        """Return how many jobs there are in each status, of a client or of all, and of a batch or of all."""
        counts: dict[str, int] = await self._run("count_by_status", client, batch)
        return counts

    async def remove(self, jobs: Sequence[StoredJob]) -> int:
        """Delete ended jobs and their files, some in each transaction, so that others are written between them.

        Returns:
            How many there were still: one that waits again, or has ended again, is left, as is a new one with the same id.
        """
        seen, count = [(job.number, job.ended) for job in jobs], 0
        for start in range(0, len(seen), MAX_REMOVED):
            removed, files = await self._run("remove", dict(seen[start : start + MAX_REMOVED]))
            await self.drop_files(files)
            count += removed
        return count

    async def remove_expired(self, now: float) -> None:
        """Delete expired jobs and their files, likewise."""
        removed = MAX_REMOVED
        while removed == MAX_REMOVED:
            removed, files = await self._run("remove_expired", now, MAX_REMOVED)
            await self.drop_files(files)

    async def last_place(self) -> int:
        """Return the highest place of all jobs."""
        place: int = await self._run("last_place")
        return place

    async def run_times(self) -> dict[str, float]:
        """Return the seconds of a run by model."""
        seconds: dict[str, float] = await self._run("all_run_times")
        return seconds
