"""Files of results, which clients fetch by a URL until they expire."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from octabox.errors import CapacityError
from octabox.media.formats import FORMATS, format_of_suffix, suffix_of
from octabox.security.temporary_folder import TemporaryFolder
from octabox.types import Artifact

#: Maximum total size of results in bytes; the oldest are deleted first.
MAX_BYTES = 2 * 1024**3

#: Random bytes in a name.
NAME_BYTES = 24


@dataclass(frozen=True)
class Result:
    """A file on disk, its media type, size and time of expiry."""

    path: Path
    media_type: str
    size: int
    expires: float


class Results:
    """Stores results in a temporary folder, which is deleted when the server stops.

    Args:
        ttl: Seconds until a result expires.
        max_bytes: Maximum total size of results.
        clock: Returns the time in seconds.
        find_stored: Returns the path of a result of a background job, and in how many seconds it expires.
    """

    def __init__(
        self,
        ttl: float,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
        find_stored: Callable[[str], tuple[Path, float] | None] = lambda _: None,
    ) -> None:
        self._ttl, self._max_bytes, self._clock, self._find_stored = ttl, max_bytes, clock, find_stored
        self._folder: TemporaryFolder | None = None
        self._results: dict[str, Result] = {}
        self._lock = threading.Lock()

    def keep(self, artifact: Artifact) -> str:
        """Write an artifact to disk and return its name, which is random.

        Raises:
            CapacityError: The file cannot be written.
        """
        name = f"{secrets.token_urlsafe(NAME_BYTES)}{suffix_of(artifact.media_type)}"
        with self._lock:
            self._make_room(len(artifact.content))
            if self._folder is None:
                self._folder = TemporaryFolder()
            path = self._folder.path / name
            try:
                path.write_bytes(artifact.content)
            except OSError as error:
                path.unlink(missing_ok=True)
                hint = "Request response_format b64_json, or free some disk space."
                raise CapacityError(f"The result cannot be stored: {error.strerror}.", hint=hint) from error
            self._results[name] = Result(path, artifact.media_type, len(artifact.content), self._clock() + self._ttl)
        return name

    def find(self, name: str) -> Result | None:
        """Return a result; None if it has expired."""
        with self._lock:
            self._make_room(0)
            if found := self._results.get(name):
                return found
        return self._stored_result(name)

    def remaining(self, result: Result) -> int:
        """Return in how many seconds a result expires."""
        return max(0, int(result.expires - self._clock()))

    def expire(self) -> None:
        """Delete the results that have expired."""
        with self._lock:
            self._make_room(0)

    def drop(self, name: str) -> None:
        """Delete a result, if it exists."""
        with self._lock:
            if result := self._results.pop(name, None):
                result.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Delete all results."""
        with self._lock:
            self._results.clear()
            if self._folder:
                self._folder.remove()
                self._folder = None

    def _stored_result(self, name: str) -> Result | None:
        """Return a result of a background job; None if it has expired."""
        stored = self._find_stored(name)
        if stored is None or stored[1] <= 0:
            return None
        path, remaining = stored
        known = FORMATS.get(format_of_suffix(path.suffix) or "")
        media_type = known.media_type if known else "application/octet-stream"
        return Result(path, media_type, path.stat().st_size, self._clock() + remaining)

    def _make_room(self, size: int) -> None:
        """Delete expired results, and the oldest until a file of this size fits."""
        now = self._clock()
        total = size + sum(result.size for result in self._results.values())
        for name, result in list(self._results.items()):
            if result.expires > now and total <= self._max_bytes:
                break
            total -= result.size
            result.path.unlink(missing_ok=True)
            del self._results[name]
