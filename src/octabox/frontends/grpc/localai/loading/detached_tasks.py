"""Work that continues when its caller disconnects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

logger = logging.getLogger("octabox.localai")


class DetachedTasks:
    """Tasks that are not cancelled with their callers."""

    def __init__(self) -> None:
        # The event loop itself keeps no reference to a task.
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of a coroutine, which continues when the caller is cancelled."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return await asyncio.shield(task)

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        """Forget a task, and log its error, which its caller may not have received."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("The model was not loaded: %s", error)
