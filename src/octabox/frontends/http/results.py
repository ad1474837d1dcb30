"""Finished files that clients fetch by URL: each has an address that cannot be guessed, and an end."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from octabox.errors import CapacityError
from octabox.media.formats import suffix_of
from octabox.types import Artifact

#: Bytes of all results together; the oldest make room for the newest.
MAX_BYTES = 2 * 1024**3

#: Random bytes in an address.
ADDRESS_BYTES = 24


@dataclass(frozen=True)
class Result:
    """A file on disk, until it expires."""

    path: Path
    media_type: str
    size: int
    expires: float


class Results:
    """Keeps results in a folder of its own, which goes when the server does.

    Args:
        ttl: Seconds that a result is kept.
        most_bytes: Bytes of all results together.
        clock: Tells the time in seconds.
    """

    def __init__(self, ttl: float, most_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl, self._most, self._clock = ttl, most_bytes, clock
        self._folder: Path | None = None
        self._kept: dict[str, Result] = {}
        self._lock = threading.Lock()

    def keep(self, artifact: Artifact) -> str:
        """Write an artifact to disk and return its name: an address that cannot be guessed, with a suffix.

        Raises:
            CapacityError: The disk is full.
        """
        name = f"{secrets.token_urlsafe(ADDRESS_BYTES)}{suffix_of(artifact.media_type)}"
        with self._lock:
            self._make_room(len(artifact.content))
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="octabox-"))
            path = self._folder / name
            try:
                path.write_bytes(artifact.content)
            except OSError as error:
                path.unlink(missing_ok=True)
                hint = "Ask for response_format b64_json, or free some disk space."
                raise CapacityError(f"The result could not be kept: {error.strerror}.", hint=hint) from error
            self._kept[name] = Result(path, artifact.media_type, len(artifact.content), self._clock() + self._ttl)
        return name

    def find(self, name: str) -> Result | None:
        """Return a result that has not expired."""
        with self._lock:
            self._make_room(0)
            return self._kept.get(name)

    def drop(self, name: str) -> None:
        """Delete a result, if it is still there."""
        with self._lock:
            if result := self._kept.pop(name, None):
                result.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Delete all results."""
        with self._lock:
            self._kept.clear()
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None

    def _make_room(self, size: int) -> None:
        """Delete what has expired, and the oldest until a file of this size fits."""
        now = self._clock()
        total = size + sum(result.size for result in self._kept.values())
        for name, result in list(self._kept.items()):
            if result.expires > now and total <= self._most:
                break
            total -= result.size
            result.path.unlink(missing_ok=True)
            del self._kept[name]
