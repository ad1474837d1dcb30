"""Locks of files that several processes may download."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined] # imported lazily there

#: Seconds between two looks at a file that another process downloads.
POLL = 0.2


@contextlib.asynccontextmanager
async def file_lock(place: Path, on_wait: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Hold the lock of a file within the context, so that of several processes one downloads it.

    Args:
        place: File of the lock.
        on_wait: Called each time that another process has the lock.
    """
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(WeakFileLock(place, timeout=0.01))
                break
            except TimeoutError:
                if on_wait is not None:
                    on_wait()
                await asyncio.sleep(POLL)
        yield


def delete_unless_locked(lock: Path, files: tuple[Path, ...]) -> bool:
    """Delete files and their lock; return whether no other process had the lock."""
    try:
        with WeakFileLock(lock, timeout=POLL):
            for file in (*files, lock):
                file.unlink(missing_ok=True)
    except TimeoutError:
        return False
    return True
