"""Cancel work when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from octabox.errors import GenerationCancelledError

T = TypeVar("T")


async def cancel_on_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine. It is cancelled if the client disconnects or the caller is cancelled.

    The coroutine is cancelled once and then awaited, so that its own clean-up runs to the end.

    Raises:
        GenerationCancelledError: The client disconnected.
    """
    task, watch = asyncio.create_task(work), asyncio.create_task(_wait_for_disconnect(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        # The message of a disconnect is received once, so that it counts also if the coroutine has ended meanwhile.
        if not watch.done():
            return task.result()
        raise GenerationCancelledError("The client disconnected.")
    finally:
        for each in (task, watch):
            each.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _wait_for_disconnect(receive: Receive) -> None:
    """Wait until the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass
