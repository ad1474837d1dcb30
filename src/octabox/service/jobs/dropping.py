"""Delete the files of requests without letting the event loop wait: the store that has them may be elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

logger = logging.getLogger("octabox.jobs")


class FileDropper:
    """Deletes files in a thread.

    Args:
        drop: Deletes the file of this name, if it exists.
    """

    def __init__(self, drop: Callable[[str], None]) -> None:
        self._drop = drop
        self._running: set[asyncio.Future[None]] = set()

    def drop(self, names: Sequence[str]) -> None:
        """Begin to delete files."""
        if names:
            running = asyncio.get_running_loop().run_in_executor(None, self._drop_all, names)
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def finish(self) -> None:
        """Wait until all files that were dropped are deleted."""
        if self._running:
            await asyncio.wait({*self._running})

    def _drop_all(self, names: Sequence[str]) -> None:
        """Delete files; one that cannot be deleted does not keep the others."""
        for name in names:
            try:
                self._drop(name)
            except Exception:
                logger.exception("The file %s of a request was not deleted", name)
