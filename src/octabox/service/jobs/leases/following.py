"""Follow the jobs of other servers, whose progress only those know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from octabox.service.jobs.record import StoredJob
from octabox.service.jobs.store.store import JobStore

#: Seconds between two looks at the store.
INTERVAL = 0.5


async def status_changes(store: JobStore, job: StoredJob) -> AsyncGenerator[StoredJob, None]:
    """Yield a job first, and again whenever its status has changed, until it has ended or is deleted."""
    status = ""
    current: StoredJob | None = job
    while current is not None and current.number == job.number:
        if current.status != status:
            status = current.status
            yield current
        if current.ended is not None:
            return
        await asyncio.sleep(INTERVAL)
        current = await store.find(job.id)


async def wait_for_end(store: JobStore, job: StoredJob, timeout: float) -> StoredJob:
    """Return a job once it has ended, or after some seconds.

    Args:
        store: The store.
        job: The job.
        timeout: The seconds.
    """

    async def wait() -> StoredJob:
        return [current async for current in status_changes(store, job)][-1]

    try:
        return await asyncio.wait_for(wait(), timeout)
    except asyncio.TimeoutError:
        found = await store.find(job.id)
        return found if found is not None and found.number == job.number else job
