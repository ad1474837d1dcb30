"""A load that is stopped between its steps or within one."""

from __future__ import annotations

import asyncio

import pytest

from octabox.errors import LoadError
from octabox.frontends.grpc.localai.loading.stoppable_load import StoppableLoad


async def wait(seconds: float) -> float:
    """Return the seconds after they have passed."""
    await asyncio.sleep(seconds)
    return seconds


async def test_a_load_that_is_not_stopped_has_its_results() -> None:
    """Each step returns what it returns."""
    load = StoppableLoad("demo")

    assert [0.0, 0.01] == [await load.run(wait(0.0)), await load.run(wait(0.01))]


async def test_a_stopped_load_ends_within_its_step() -> None:
    """The step is cancelled, and the error names the model."""
    load = StoppableLoad("demo")
    task = asyncio.create_task(load.run(wait(60)))
    await asyncio.sleep(0)
    load.stop()

    with pytest.raises(LoadError, match="'demo' was unloaded") as caught:
        await task
    assert "demo" == caught.value.model


async def test_no_step_begins_after_a_stop() -> None:
    """A load that was stopped before its first step, or between two, does nothing."""
    load = StoppableLoad("demo")
    load.stop()

    for _ in range(2):
        with pytest.raises(LoadError):
            await load.run(wait(60))


async def test_a_cancelled_caller_is_no_stop() -> None:
    """When the process ends, the task of the load is cancelled as any other, and its step with it."""
    load = StoppableLoad("demo")
    step = asyncio.Event()

    async def work() -> None:
        try:
            await wait(60)
        finally:
            step.set()

    task = asyncio.create_task(load.run(work()))
    await asyncio.sleep(0.01)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert step.is_set()
