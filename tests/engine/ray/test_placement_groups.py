"""The place of a replica, whose caller may leave at any time."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from octabox.engine.ray import placement_groups
from octabox.engine.ray.placement_groups import create_group
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
    task = asyncio.create_task(create_group({"GPU": 1.0}, None))
    await until(begun.is_set)
    task.cancel()
    await asyncio.sleep(0)
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ([] if fails else ["group"]) == removed
