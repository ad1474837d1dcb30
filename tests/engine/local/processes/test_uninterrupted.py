"""Work that goes on where whoever waits for it is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from fake_worker import settle
from octabox.engine.local.processes.uninterrupted import SharedTask, run_locked


async def test_work_is_shared_and_survives_those_that_wait_for_it() -> None:
    """It runs once at a time; one that is cancelled ends nobody else's wait, and after its end it runs again."""
    proceed, runs = asyncio.Event(), list[int]()

    async def work() -> int:
        runs.append(len(runs))
        await proceed.wait()
        return len(runs)

    shared = SharedTask[int]()
    first, second = (asyncio.create_task(shared.run(work)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    assert not second.done()

    proceed.set()
    assert 1 == await second
    assert 2 == await shared.run(work)


async def test_a_lock_is_held_until_the_end_of_work_whose_caller_is_cancelled() -> None:
    """It is taken before anything else runs; what is called at the end finds it free."""
    lock, proceed, ended = asyncio.Lock(), asyncio.Event(), list[bool]()

    async def work() -> bool:
        return await proceed.wait()

    coroutine = run_locked(lock, work, lambda: ended.append(lock.locked()))
    coroutine.send(None)  # As far as it runs without a pause.
    assert lock.locked()
    coroutine.close()
    await settle()
    assert lock.locked()

    proceed.set()
    await settle()
    assert [False] == ended


async def test_work_that_fails_frees_its_lock() -> None:
    """Its caller receives the error."""
    lock, ended = asyncio.Lock(), list[bool]()

    async def work() -> None:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 (it has no message)
        await run_locked(lock, work, lambda: ended.append(lock.locked()))
    assert [False] == ended


async def test_waiting_for_a_lock_ends_with_the_caller() -> None:
    """Nothing has begun that would have to go on."""
    lock, begun = asyncio.Lock(), asyncio.Event()

    async def work() -> None:
        begun.set()

    async with lock:
        waiting = asyncio.create_task(run_locked(lock, work))
        await settle()
        waiting.cancel()
        await settle()
    await settle()

    assert waiting.cancelled()
    assert not begun.is_set()
    assert not lock.locked()
