"""Who may work when."""

from __future__ import annotations

import asyncio

import pytest

from octabox.errors import QueueFullError
from octabox.frontends.grpc.localai.loading.request_gate import RequestGate


class Line:
    """Workers in a line, who note when they begin and end."""

    def __init__(self, together: int = 2, waiting: int = 8) -> None:
        self.turns, self.noted = RequestGate(together, waiting), list[str]()
        self.go = asyncio.Event()

    async def share(self, name: str) -> None:
        """Work beside others until all may go."""
        async with self.turns.shared():
            self.noted.append(name)
            await self.go.wait()

    async def work_alone(self, name: str) -> None:
        """Work alone, for a moment."""
        async with self.turns.alone():
            self.noted.append(f"{name} begins")
            await asyncio.sleep(0)
            self.noted.append(f"{name} ends")


async def settle() -> None:
    """Let all tasks run as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_some_work_together_and_the_others_wait() -> None:
    """As many work at once as may, in the order in which they came."""
    line = Line(together=2)
    tasks = [asyncio.create_task(line.share(name)) for name in "abc"]
    await settle()

    assert ["a", "b"] == line.noted
    line.go.set()
    await asyncio.gather(*tasks)
    assert ["a", "b", "c"] == line.noted
    assert not line.turns.busy


async def test_one_alone_waits_for_those_before_and_holds_those_behind() -> None:
    """Whoever must be alone begins when all before have ended, and ends before anyone behind begins."""
    line = Line()
    tasks = [asyncio.create_task(work) for work in (line.share("a"), line.work_alone("x"), line.share("b"))]
    await settle()

    assert ["a"] == line.noted
    line.go.set()
    await asyncio.gather(*tasks)
    assert ["a", "x begins", "x ends", "b"] == line.noted


async def test_who_leaves_the_line_holds_nobody_up() -> None:
    """A place that is given up is gone, and those behind move on."""
    line = Line()
    first, leaver, last = (
        asyncio.create_task(work) for work in (line.share("a"), line.work_alone("x"), line.share("b"))
    )
    await settle()
    leaver.cancel()
    await settle()

    assert ["a", "b"] == line.noted
    line.go.set()
    await asyncio.gather(first, last)
    assert not line.turns.busy


async def test_a_worker_that_is_cancelled_makes_room() -> None:
    """The next one begins when the one before is cancelled in the middle."""
    line = Line(together=1)
    first, second = (asyncio.create_task(line.share(name)) for name in "ab")
    await settle()
    first.cancel()
    await settle()

    assert ["a", "b"] == line.noted
    line.go.set()
    await second


async def test_a_turn_that_comes_with_the_cancellation_is_given_back() -> None:
    """One that is cancelled in the moment its turn comes leaves nothing behind."""
    line = Line(together=1)
    first, second, third = (asyncio.create_task(line.share(name)) for name in "abc")
    await settle()
    first.cancel()
    await asyncio.sleep(0)
    second.cancel()
    await settle()

    assert "c" == line.noted[-1]
    line.go.set()
    await third
    assert not line.turns.busy


async def test_a_line_has_an_end() -> None:
    """One more than may wait is refused at once."""
    line = Line(together=1, waiting=1)
    tasks = [asyncio.create_task(line.share(name)) for name in "ab"]
    await settle()

    with pytest.raises(QueueFullError):
        await line.share("c")
    line.go.set()
    await asyncio.gather(*tasks)
