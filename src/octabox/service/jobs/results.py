"""The results of background jobs: their files, until their time has passed or they are deleted because of their size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from octabox.error_copies import copy_error
from octabox.service.jobs.errors import ResultExpiredError
from octabox.service.jobs.store.store import JobStore
from octabox.storage import is_file_name


@dataclass(frozen=True)
class StoredResult:
    """A result of a background job.

    Args:
        path: Its path; None if it is not on this machine.
        size: Its bytes.
        remaining: Seconds until it expires.
    """

    path: Path | None
    size: int
    remaining: float


class JobResults:
    """Finds the files of the results of background jobs.

    Args:
        store: The store of the jobs.
        is_open: Returns whether it is open.
        ttl: Seconds for which a result is kept.
        clock: Returns the time in seconds since the epoch.
    """

    def __init__(self, store: JobStore, is_open: Callable[[], bool], ttl: float, clock: Callable[[], float]) -> None:
        self._store, self._is_open, self._ttl, self._clock = store, is_open, ttl, clock

    def find(self, name: str) -> StoredResult | None:
        """Return a result; None if it does not exist, or has expired.

        Raises:
            CapacityError: The store of the files does not respond.
        """
        file = self._store.files.find(name) if self._is_open() else None
        remaining = 0.0 if file is None else file.modified + self._ttl - self._clock()
        if file is None or remaining <= 0:
            return None
        return StoredResult(self._store.files.path(name), file.size, remaining)

    def read(self, name: str) -> bytes:
        """Return the content of a result that is not on this machine.

        Raises:
            JobStoreError: It cannot be read.
        """
        return self._store.files.read(name)

    async def check(self, name: str) -> None:
        """Check that a result was not deleted because of its size.

        Raises:
            ResultExpiredError: It was.
        """
        job = await self._store.find_by_file(name) if is_file_name(name) else None
        if job is not None and isinstance(job.error, ResultExpiredError):
            raise copy_error(job.error)

    async def delete_expired(self) -> None:
        """Delete the jobs whose time has passed, with their files."""
        if self._is_open():
            await self._store.remove_expired(self._clock())
