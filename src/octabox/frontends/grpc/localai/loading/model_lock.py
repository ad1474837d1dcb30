"""Readers-writer lock for the model of a backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ModelLock:
    """Lock that requests share, and that a load or an unload holds alone. It is acquired in the order of arrival."""

    def __init__(self) -> None:
        self._entrance = asyncio.Lock()
        self._unused = asyncio.Event()
        self._unused.set()
        self._users = 0

    @property
    def busy(self) -> bool:
        """Whether the lock is held or waited for."""
        return self._users > 0 or self._entrance.locked()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold the lock together with other requests."""
        async with self._entrance:
            self._users += 1
            self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the lock alone: wait for the requests before, and keep the later ones waiting."""
        async with self._entrance:
            await self._unused.wait()
            yield
