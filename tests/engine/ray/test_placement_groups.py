"""The place of a replica, whose caller may leave at any time."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from ray.exceptions import RayError

from octabox.engine.ray import placement_groups
from octabox.engine.ray.placement_groups import Reservation, create_group
from queue_houses import until


@pytest.mark.parametrize("fails", [False, True])
async def test_a_caller_that_leaves_while_a_group_is_created(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """The thread creates it all the same: it is removed, since it would reserve its accelerator for good."""
    begun, goes_on, removed = threading.Event(), threading.Event(), list[Any]()

    def create(*_: object) -> str:
        begun.set()
        goes_on.wait(30)
        if fails:
            raise ValueError("There is no such node.")
        return "group"

    monkeypatch.setattr(placement_groups, "placement_group", create)
    monkeypatch.setattr(placement_groups, "remove_placement_group", removed.append)
    task = asyncio.create_task(create_group({"GPU": 1.0}, {}))
    await until(begun.is_set)
    task.cancel()
    await asyncio.sleep(0)
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ([] if fails else ["group"]) == removed


class Group:
    """A placement group that gets its place once a test lets it.

    Args:
        placed: What that is.
    """

    def __init__(self, placed: asyncio.Event, error: Exception | None = None) -> None:
        self.placed, self.error = placed, error

    async def ready(self) -> None:
        """Wait for the place; where the cluster has an error, it is raised once."""
        if self.error:
            error, self.error = self.error, None
            raise error
        await self.placed.wait()

    def wait(self, seconds: float) -> bool:
        """Block a thread, as Ray's function of this name does."""
        time.sleep(seconds)
        return False


async def test_replicas_that_wait_take_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one thread for all that blocks, fifty of them wait while another function runs there."""
    monkeypatch.setattr(placement_groups, "remove_placement_group", lambda _: None)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    placed, began = asyncio.Event(), time.monotonic()
    reservations = [Reservation(cast("Any", Group(placed)), {"GPU": 1.0}) for _ in range(50)]
    waits = [asyncio.create_task(each.wait(10)) for each in reservations]
    await asyncio.sleep(0)
    assert "ran" == await asyncio.wait_for(asyncio.to_thread(lambda: "ran"), 5)
    placed.set()

    assert [True] * 50 == await asyncio.gather(*waits)
    assert time.monotonic() - began < 10


async def test_a_wait_for_a_place_goes_on_after_it_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that was not there in time is there later, also where the cluster had an error; one that was given up is not."""
    monkeypatch.setattr(placement_groups, "remove_placement_group", lambda _: None)
    monkeypatch.setattr(placement_groups, "RETRY", 0.0)
    placed = asyncio.Event()
    kept, left = (Reservation(cast("Any", Group(placed, RayError())), {"GPU": 1.0}) for _ in range(2))
    before = [await kept.wait(0.01), await left.wait(0.01)]
    await left.release()
    placed.set()

    assert [False, False] == before
    assert [True, False] == [await kept.wait(5), await left.wait(0.01)]
