"""Files of results, which clients fetch by a URL until they expire."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from octabox.errors import CapacityError
from octabox.media.formats import FORMATS, format_of_suffix, suffix_of
from octabox.security.temporary_folder import TemporaryFolder
from octabox.storage import FileStore, random_name
from octabox.types import Artifact

#: Seconds between two searches of a shared store for expired results, which list all of its files.
SWEEP_INTERVAL = 600.0

#: Maximum total size of results in bytes; the oldest are deleted first.
MAX_BYTES = 2 * 1024**3

logger = logging.getLogger("octabox.http")

_HINT = "Request response_format b64_json, or free some disk space."


@dataclass(frozen=True)
class Result:
    """A file on disk.

    Args:
        path: Its path.
        media_type: Its media type.
        size: Its bytes.
        expires: When it expires, by the clock of the results.
        is_copy: Whether it is a copy from a store, where it may be deleted at any time.
    """

    path: Path
    media_type: str
    size: int
    expires: float
    is_copy: bool = False


class FoundResult(Protocol):
    """A result of a background job."""

    @property
    def path(self) -> Path | None:
        """Its path; None if it is not on this machine."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def remaining(self) -> float:
        """Seconds until it expires."""


class StoredResults(Protocol):
    """The results of background jobs."""

    def find(self, name: str) -> FoundResult | None:
        """Return a result; None if it does not exist, or has expired."""

    def read(self, name: str) -> bytes:
        """Return the content of a result that is not on this machine."""


class Results:
    """Stores results in a temporary folder, which is deleted when the server stops.

    With a store that servers share, each result is written there too, and any server finds it until it expires.

    Args:
        ttl: Seconds until a result expires.
        max_bytes: Maximum total size of results in the folder.
        clock: Returns the time in seconds.
        stored: The results of background jobs.
        shared: The store that servers share; None if there is none.
    """

    def __init__(
        self,
        ttl: float,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
        stored: StoredResults | None = None,
        shared: FileStore | None = None,
    ) -> None:
        self._ttl, self._max_bytes, self._clock, self._next_sweep = ttl, max_bytes, clock, -math.inf
        self._stored, self._shared = stored, shared.within("results") if shared else None
        self._folder: TemporaryFolder | None = None
        self._results: dict[str, Result] = {}
        self._lock = threading.Lock()

    def keep(self, artifact: Artifact) -> str:
        """Write an artifact to disk and return its name, which is random.

        Raises:
            CapacityError: The file cannot be written.
        """
        name = random_name(suffix_of(artifact.media_type))
        if self._shared:
            self._shared.write(name, artifact.content)
        self._write(name, artifact.content, artifact.media_type, self._ttl)
        return name

    def find(self, name: str) -> Result | None:
        """Return a result, which may take the time of reading it from a store; None if it has expired.

        Raises:
            CapacityError: It cannot be read from the store, or be written to disk.
        """
        with self._lock:
            self._make_room(0)
            if (kept := self._results.get(name)) and not kept.is_copy:
                return kept
        if (found := self._stored_result(name) or self._shared_result(name)) is None:
            self._forget(name)
        return found

    def remaining(self, result: Result) -> int:
        """Return in how many seconds a result expires."""
        return max(0, int(result.expires - self._clock()))

    def expire(self) -> None:
        """Delete the results that have expired, in a store those of all servers."""
        with self._lock:
            self._make_room(0)
        if self._shared and (now := self._clock()) >= self._next_sweep:
            self._next_sweep = now + SWEEP_INTERVAL
            self._shared.sweep(age=self._ttl)

    def drop(self, name: str) -> None:
        """Delete a result, if it exists; this may take the time of a store."""
        self._forget(name)
        if self._shared:
            self._shared.drop([name])

    def close(self) -> None:
        """Delete all results of the folder; those of a store stay until they expire."""
        with self._lock:
            self._results.clear()
            if self._folder:
                self._folder.remove()
                self._folder = None

    def _forget(self, name: str) -> None:
        """Delete a result from the folder, if it is there."""
        with self._lock:
            if name in self._results:
                self._remove(name)

    def _write(self, name: str, content: bytes, media_type: str, seconds: float, *, is_copy: bool = False) -> Result:
        """Write a file to the folder, unless it is there: it may be being sent.

        Args:
            name: Its name.
            content: Its content.
            media_type: Its media type.
            seconds: Seconds until it expires.
            is_copy: Whether it is a copy from a store.

        Raises:
            CapacityError: The file cannot be written.
        """
        with self._lock:
            if known := self._results.get(name):
                return known
            self._make_room(len(content))
            if self._folder is None:
                self._folder = TemporaryFolder()
            path = self._folder.path / name
            try:
                path.write_bytes(content)
            except OSError as error:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
                raise CapacityError(f"The result cannot be stored: {error.strerror}.", hint=_HINT) from error
            result = self._results[name] = Result(path, media_type, len(content), self._clock() + seconds, is_copy)
        return result

    def _stored_result(self, name: str) -> Result | None:
        """Return a result of a background job; None if there is none."""
        found = self._stored.find(name) if self._stored else None
        if self._stored is None or found is None:
            return None
        if found.path is None:
            return self._copy(name, self._stored.read, found.remaining)
        return Result(found.path, _media_type(name), found.size, self._clock() + found.remaining)

    def _shared_result(self, name: str) -> Result | None:
        """Return a result of any server that uses the store; None if it has expired."""
        file = self._shared.find(name) if self._shared else None
        remaining = 0.0 if file is None else file.modified + self._ttl - time.time()
        if self._shared is None or remaining <= 0:
            return None
        return self._copy(name, self._shared.read, remaining)

    def _copy(self, name: str, read: Callable[[str], bytes], seconds: float) -> Result:
        """Return the copy of a file of a store, which is read if there is none yet."""
        with self._lock:
            known = self._results.get(name)
        return known or self._write(name, read(name), _media_type(name), seconds, is_copy=True)

    def _make_room(self, size: int) -> None:
        """Delete expired results, and the oldest until a file of this size fits."""
        now = self._clock()
        for name in [name for name, result in self._results.items() if result.expires <= now]:
            self._remove(name)
        total = size + sum(result.size for result in self._results.values())
        for name, result in list(self._results.items()):
            if total <= self._max_bytes:
                break
            total -= result.size
            self._remove(name)

    def _remove(self, name: str) -> None:
        _delete(self._results.pop(name).path)


def _delete(path: Path) -> None:
    """Delete a file; one that cannot be deleted does not keep the others, and goes with its folder."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("A result is not deleted: %s", error)


def _media_type(name: str) -> str:
    """Return the media type of a file."""
    known = FORMATS.get(format_of_suffix(Path(name).suffix) or "")
    return known.media_type if known else "application/octet-stream"
