"""The jobs that are being prepared: those of a client enter the engine's queue in their order, though some take longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from octabox.service.jobs.record import StoredJob


class Entries:
    """The jobs that are being prepared, by model and client, so that no client delays another one."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._entered: dict[str, asyncio.Future[None]] = {}

    def add(self, job: StoredJob) -> Awaitable[None]:
        """Add a job as the last one, and return its turn."""
        key = (job.request.model, job.client)
        before = self._last.get(key)
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last[key] = self._entered[job.id] = entered

        def forget(done: asyncio.Future[None]) -> None:
            if self._last.get(key) is done:
                del self._last[key]

        entered.add_done_callback(forget)
        return _wait(before)

    def end(self, job: StoredJob) -> None:
        """Let the next job prepare, since this one has entered the queue or does not run."""
        entered = self._entered.pop(job.id, None)
        if entered is not None:
            entered.set_result(None)


def _wait(before: asyncio.Future[None] | None) -> Awaitable[None]:
    """Return what waits for another future, and does not cancel it."""
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    if before is None or before.done():
        waiting.set_result(None)
    else:
        before.add_done_callback(lambda _: None if waiting.done() else waiting.set_result(None))
    return waiting
