"""The readers-writer lock for the model of a backend."""

from __future__ import annotations

import asyncio

from octabox.frontends.grpc.localai.loading.model_lock import ModelLock


class Users:
    """Tasks that hold a lock, and note when they begin and end."""

    def __init__(self) -> None:
        self.lock, self.notes = ModelLock(), list[str]()
        self.release = asyncio.Event()

    async def share(self, name: str) -> None:
        """Hold the lock together with others until all are released."""
        async with self.lock.shared():
            self.notes.append(name)
            await self.release.wait()

    async def hold(self, name: str) -> None:
        """Hold the lock alone for a moment."""
        async with self.lock.exclusive():
            self.notes.append(f"{name} begins")
            await asyncio.sleep(0)
            self.notes.append(f"{name} ends")


async def settle() -> None:
    """Run all tasks as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_requests_share_the_lock() -> None:
    """Several hold it together, in the order of arrival, and it is busy until the last has ended."""
    users = Users()
    tasks = [asyncio.create_task(users.share(name)) for name in "abc"]
    await settle()

    assert ["a", "b", "c"] == users.notes
    assert users.lock.busy
    users.release.set()
    await asyncio.gather(*tasks)
    assert not users.lock.busy


async def test_a_load_waits_for_those_before_and_holds_those_behind() -> None:
    """The exclusive holder begins after the earlier requests have ended, and ends before a later one begins."""
    users = Users()
    tasks = [asyncio.create_task(work) for work in (users.share("a"), users.hold("x"), users.share("b"))]
    await settle()

    assert ["a"] == users.notes
    users.release.set()
    await asyncio.gather(*tasks)
    assert ["a", "x begins", "x ends", "b"] == users.notes


async def test_a_load_that_is_cancelled_holds_nobody_up() -> None:
    """Requests behind a cancelled load begin."""
    users = Users()
    first, load, last = (asyncio.create_task(work) for work in (users.share("a"), users.hold("x"), users.share("b")))
    await settle()
    load.cancel()
    await settle()

    assert ["a", "b"] == users.notes
    users.release.set()
    await asyncio.gather(first, last)
    assert not users.lock.busy


async def test_a_request_that_is_cancelled_releases_the_lock() -> None:
    """A load begins after the last request was cancelled."""
    users = Users()
    request, load = asyncio.create_task(users.share("a")), asyncio.create_task(users.hold("x"))
    await settle()
    request.cancel()
    await load

    assert ["a", "x begins", "x ends"] == users.notes
    assert not users.lock.busy


async def test_a_request_that_is_cancelled_in_its_turn_leaves_nothing_behind() -> None:
    """A request whose cancellation coincides with its turn does not keep the lock busy."""
    users = Users()
    users.release.set()
    load, request, last = (asyncio.create_task(work) for work in (users.hold("x"), users.share("a"), users.share("b")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    request.cancel()
    await asyncio.gather(load, last)

    assert users.notes[-1] == "b"
    assert not users.lock.busy
