"""Unload models that nobody has used for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Protocol

logger = logging.getLogger("octabox.engine")


class ExpiringModel(Protocol):
    """A model whose time in memory may end."""

    name: str

    @property
    def idle(self) -> bool:
        """Whether it is in memory, and no request waits for it or runs on it."""

    @property
    def expires(self) -> float | None:
        """When it is unloaded if no request arrives, in seconds since the epoch; None if that will not happen."""

    async def unload(self) -> bool:
        """Unload it once it is idle; return whether it was in memory."""


class IdleUnloader:
    """Unloads each model once its time without requests is over; one timer runs, for the next model.

    Args:
        models: Returns all models.
        on_unload: Called with the name of each model that is unloaded.
    """

    def __init__(self, models: Callable[[], Iterable[ExpiringModel]], on_unload: Callable[[str], None]) -> None:
        self._models, self._on_unload = models, on_unload
        self._timer: asyncio.TimerHandle | None = None
        self._unloads: set[asyncio.Task[None]] = set()

    def update(self) -> None:
        """Unload what has expired, and set the timer; called where a model has become idle or its time was changed."""
        self.stop()
        now = time.time()
        idle = [(each.expires, each) for each in self._models() if each.idle and each.expires is not None]
        expired = [model for expires, model in idle if expires is not None and expires <= now]
        later = [expires for expires, _ in idle if expires is not None and expires > now]
        for model in expired:
            task = asyncio.get_running_loop().create_task(self._unload(model), name=f"idle unload of {model.name}")
            self._unloads.add(task)
            task.add_done_callback(self._unloads.discard)
        if later:
            # The clock of the loop is another one, and timers may fire early by its resolution.
            delay = min(later) - now + 0.01
            self._timer = asyncio.get_running_loop().call_later(delay, self.update)

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _unload(self, model: ExpiringModel) -> None:
        """Unload a model, unless a request has arrived in the meantime."""
        if not model.idle:
            return
        logger.info("%s is unloaded, since it was not used for its keep_alive", model.name)
        if await model.unload():
            self._on_unload(model.name)
