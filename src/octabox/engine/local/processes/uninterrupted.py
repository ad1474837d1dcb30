"""Work on a worker that goes on where its caller is cancelled, since a half of it would leave what nobody counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SharedTask(Generic[T]):
    """Work that runs once at a time, in its own task: all that request it meanwhile wait for the same end."""

    def __init__(self) -> None:
        self._task: asyncio.Task[T] | None = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Begin the work, unless it is being done, and wait for its end.

        Args:
            work: The work.
        """
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(work())
        return await asyncio.shield(self._task)


async def run_locked(
    lock: asyncio.Lock, work: Callable[[], Coroutine[Any, Any, T]], on_end: Callable[[], object] = lambda: None
) -> T:
    """Run work while a lock is held, which is taken immediately where it is free; return its result.

    Args:
        lock: The lock; waiting for it ends with the caller.
        work: The work, which does not.
        on_end: Called at its end, when the lock is free again.
    """
    await lock.acquire()

    async def run() -> T:
        try:
            return await work()
        finally:
            lock.release()
            on_end()

    return await SharedTask[T]().run(run)
