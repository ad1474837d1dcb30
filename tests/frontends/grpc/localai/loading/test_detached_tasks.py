"""Work whose caller may leave."""

from __future__ import annotations

import asyncio
import logging

import pytest

from octabox.errors import LoadError
from octabox.frontends.grpc.localai.loading.detached_tasks import DetachedTasks


async def test_work_goes_on_when_its_caller_leaves() -> None:
    """Only the caller is cancelled."""
    tasks, begun, end, done = DetachedTasks(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await end.wait()
        done.set()

    caller = asyncio.create_task(tasks.run(work()))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    end.set()

    await asyncio.wait_for(done.wait(), 20)


async def test_an_error_reaches_the_caller_and_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The log has it also where nobody waits any more."""
    caplog.set_level(logging.DEBUG, "octabox.localai")

    async def work() -> None:
        raise LoadError("It is too large.")

    with pytest.raises(LoadError):
        await DetachedTasks().run(work())
    await asyncio.sleep(0)

    assert ["The model was not loaded: It is too large."] == caplog.messages
