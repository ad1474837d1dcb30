"""A coroutine in a thread of its own: its result, its error, and its cancellation, of which nothing is logged."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import Future

import pytest

from octabox.hub.pulls import threads
from octabox.hub.pulls.threads import run_in_own_loop


async def test_a_result_and_an_error_are_those_of_the_coroutine() -> None:
    """It runs in another thread."""

    async def work() -> str:
        return threading.current_thread().name

    async def fail() -> None:
        raise ValueError("no")

    assert "pull" == await run_in_own_loop(work)
    with pytest.raises(ValueError, match="no"):
        await run_in_own_loop(fail)


@pytest.mark.parametrize("error", [None, OSError("the disk is gone")])
async def test_a_cancellation_waits_for_the_end_and_logs_nothing(
    error: OSError | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the coroutine ends with another error by it."""
    began, ended = threading.Event(), threading.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
            if error is not None:
                raise error

    task = asyncio.create_task(run_in_own_loop(work))
    await asyncio.to_thread(began.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    del task
    gc.collect()

    assert ended.is_set()
    assert [] == caplog.records


async def test_a_coroutine_that_cancels_itself() -> None:
    """It is cancelled for its caller as well."""

    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run_in_own_loop(work)


async def test_a_cancellation_just_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop of the thread is closed, and its result has not arrived yet: the caller is cancelled all the same."""
    closed, go_on = threading.Event(), threading.Event()

    class SlowFuture(Future[object]):
        """Sets the result of the coroutine late."""

        def set_result(self, result: object) -> None:
            if result == "done":
                closed.set()
                go_on.wait(10)
            super().set_result(result)

    async def work() -> str:
        return "done"

    monkeypatch.setattr(threads, "Future", SlowFuture)
    task = asyncio.create_task(run_in_own_loop(work))
    await asyncio.to_thread(closed.wait)
    task.cancel()
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await task
