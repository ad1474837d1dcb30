"""A load that can be ended from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from octabox.engine.local.queued_request import QueuedRequest
from octabox.errors import OctaboxError


class LoadTask:
    """The load of a model for a request, if there is one."""

    def __init__(self) -> None:
        #: The request that the model is being loaded for.
        self.request: QueuedRequest | None = None
        self._task: asyncio.Task[None] | None = None
        self._error: OctaboxError | None = None

    async def run(self, request: QueuedRequest, load: Coroutine[Any, Any, None]) -> None:
        """Run a load until its end, or until `stop`.

        Raises:
            OctaboxError: The load failed, or this is the error that `stop` was called with.
        """
        self.request, self._error = request, None
        self._task = asyncio.create_task(load, name="load")
        try:
            await self._task
        except asyncio.CancelledError:
            if self._error is None:
                raise
            raise self._error from None
        finally:
            self._task = self.request = None

    def stop(self, error: OctaboxError) -> None:
        """End the load with an error, if there is one."""
        if self._task:
            self._error = error
            self._task.cancel()
