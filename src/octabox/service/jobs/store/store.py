"""The store of background jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from octabox.service.jobs.record import Delivery, JobQuery, StoredJob
from octabox.service.jobs.store.connection import StoreConnection
from octabox.service.jobs.store.rows import end_values
from octabox.service.jobs.store.serialization import decode_request
from octabox.types import GenerationRequest


class JobStore(StoreConnection):
    """Jobs in a database, and their files in a folder."""

    async def recover(self, now: float, ttl: float) -> tuple[list[StoredJob], list[StoredJob]]:
        """Return the jobs that wait, with those that ran when the server ended, and those that have failed by that.

        Expired jobs and files without a job are deleted.

        Args:
            now: The time in seconds since the epoch.
            ttl: Seconds that a job is kept after its end.
        """
        failed: list[StoredJob] = await self._run("recover", now, now + ttl)
        await self.remove_expired(now)
        known = await self._run("known_files")
        await asyncio.to_thread(self.files.sweep, known)
        waiting: list[StoredJob] = await self._run("find_all", JobQuery(statuses=("queued",), newest_first=False))
        return waiting, failed

    async def accept(self, rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[StoredJob]]:
        """Insert new jobs; if their idempotency key was used before, return the hash of that submission and its jobs."""
        dropped, former, jobs = await self._run("accept", rows)
        await self._drop(dropped)
        return former, jobs

    async def find_key(self, client: str, key: str) -> tuple[str, list[StoredJob]]:
        """Return the hash and the jobs of the submission with a client's idempotency key; no jobs if there is none."""
        former: tuple[str, list[StoredJob]] = await self._run("find_key", client, key)
        return former

    async def request(self, job_id: str) -> GenerationRequest:
        """Return the request of a job."""
        text, places = await self._run("request_of", job_id)
        return await asyncio.to_thread(decode_request, text, places, self.files.read)

    def change(self, job_id: str, **values: Any) -> asyncio.Future[None]:
        """Change columns of a job."""
        return self._run("change", job_id, values)

    def end(self, job: StoredJob, notices: Sequence[Delivery], seconds: float | None) -> asyncio.Future[None]:
        """Record the end of a job, the webhooks to send, and the seconds of a run of its model."""
        return self._run("end", job.id, end_values(job), notices, seconds)

    async def move(self, job_id: str, place: int) -> None:
        """Give a job a place; those from there on are moved back."""
        shifted = self._run("shift", place)
        await asyncio.gather(shifted, self.change(job_id, place=place))

    async def find(self, job_id: str) -> StoredJob | None:
        """Return a job; None if there is none with this id."""
        found: StoredJob | None = await self._run("find", job_id)
        return found

    async def find_all(self, query: JobQuery) -> list[StoredJob]:
        """Return the jobs of a query."""
        found: list[StoredJob] = await self._run("find_all", query)
        return found

    async def count_by_status(self, batch: str | None = None) -> dict[str, int]:
        """Return how many jobs there are in each status, of a batch or of all."""
        counts: dict[str, int] = await self._run("count_by_status", batch)
        return counts

    async def remove(self, ids: Sequence[str]) -> None:
        """Delete jobs and their files."""
        await self._drop(await self._run("remove", ids))

    async def remove_expired(self, now: float) -> None:
        """Delete expired jobs and their files."""
        await self._drop(await self._run("remove_expired", now))

    async def last_numbers(self) -> tuple[int, int]:
        """Return the highest number and the highest place of all jobs."""
        numbers: tuple[int, int] = await self._run("last_numbers")
        return numbers

    async def run_times(self) -> dict[str, float]:
        """Return the seconds of a run by model."""
        seconds: dict[str, float] = await self._run("all_run_times")
        return seconds

    async def get_property(self, name: str) -> str | None:
        """Return a value of the store; None if it is not set."""
        value: str | None = await self._run("get_property", name)
        return value

    def set_property(self, name: str, value: str) -> asyncio.Future[None]:
        """Set a value of the store."""
        return self._run("set_property", name, value)

    async def due_deliveries(self, limit: int) -> list[Delivery]:
        """Return the webhooks to send, those that are due first at the front."""
        due: list[Delivery] = await self._run("due_deliveries", limit)
        return due

    def add_delivery(self, notice: Delivery) -> asyncio.Future[None]:
        """Add a webhook, or change its number of attempts and its time."""
        return self._run("add_delivery", notice)

    def remove_delivery(self, delivery_id: str) -> asyncio.Future[None]:
        """Delete a webhook."""
        return self._run("remove_delivery", delivery_id)

    async def _drop(self, names: Sequence[str]) -> None:
        """Delete files."""
        if names:
            await asyncio.to_thread(self.files.drop, names)
