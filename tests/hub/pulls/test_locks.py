"""Locks of files that several processes may download."""

from __future__ import annotations

import asyncio
from pathlib import Path

from octabox.hub.pulls.locks import delete_unless_locked, file_lock


async def test_one_of_two_holds_it(tmp_path: Path) -> None:
    """The other one waits and reports that, and its file is deleted only when nobody has the lock."""
    lock, file, order, waits = tmp_path / "lock", tmp_path / "file", list[str](), asyncio.Event()
    file.touch()

    async def second() -> None:
        async with file_lock(lock, waits.set):
            order.append("second")

    async with file_lock(lock):
        waiting = asyncio.create_task(second())
        await asyncio.wait_for(waits.wait(), 30)
        assert not delete_unless_locked(lock, (file,))
        order.append("first")
    await waiting

    assert ["first", "second"] == order
    assert file.exists()
    assert delete_unless_locked(lock, (file,))
    assert [] == [*tmp_path.iterdir()]
