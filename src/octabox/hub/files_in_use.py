"""Keep files from being removed by `octabox rm` while a process of this user has them loaded."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from octabox.hub.cache_layout import repository_of

try:
    import fcntl
except ImportError:  # Windows has no such locks, and its files cannot be deleted while they are open.
    fcntl = None  # type: ignore[assignment]

#: What this process keeps: repositories by their folder, other files by their path.
_held: dict[str, int | None] = {}
_lock = threading.Lock()


def hold(path: Path) -> None:
    """Keep a file, or the repository in the cache that it is of, from being removed while this process runs."""
    repository = repository_of(path)
    key = str(repository.folder) if repository else os.path.realpath(path)
    with _lock:
        if key not in _held:
            _held[key] = repository.hold() if repository else _lock_file(key, exclusive=False)


def claim_file(path: Path) -> int | None:
    """Return a descriptor for the removal of a file that is not in the cache; None if a process has it loaded.

    Raises:
        OSError: There is no such file, or it cannot be read.
    """
    return _lock_file(os.path.realpath(path), exclusive=True)


def _lock_file(path: str, *, exclusive: bool) -> int | None:
    """Lock a file for all processes, and return the descriptor; None if another process has a lock that excludes this one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        if exclusive:
            raise
        return None
    if fcntl is None:
        return descriptor
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        pass  # A file system without locks.
    return descriptor
