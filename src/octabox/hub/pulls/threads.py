"""Run a coroutine in a thread with its own event loop, so that writing files does not delay that of a server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


async def run_in_own_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in a daemon thread, and return its result; cancelling the caller cancels it and waits for its end."""
    running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()
    outcome: Future[T] = Future()

    async def main() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (this is one)
        running.set_result((asyncio.get_running_loop(), task))
        return await work()

    def run() -> None:
        try:
            outcome.set_result(asyncio.run(main()))
        except asyncio.CancelledError:
            outcome.cancel()
        except BaseException as error:  # noqa: BLE001 (the caller receives it)
            outcome.set_exception(error)

    threading.Thread(target=run, name="pull", daemon=True).start()
    ended = asyncio.wrap_future(outcome)
    # An error after the cancellation is nobody's any more; asyncio would log one that is never looked at.
    ended.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        loop, task = await asyncio.wrap_future(running)
        with contextlib.suppress(RuntimeError):  # The loop is closed: the coroutine has just ended.
            loop.call_soon_threadsafe(task.cancel)
        await asyncio.wait({ended})
        raise
