"""Where a request runs, with real servers in the background; each refuses its requests, for which it reads no catalog."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from octabox.cli.requests.run_options import RunOptions
from octabox.cli.resident import __main__ as resident
from octabox.cli.resident import launcher, selection
from octabox.cli.resident.connection import ServerGoneError, is_alive
from octabox.cli.resident.launcher import end_servers
from octabox.cli.resident.runtime import runtime_folder
from octabox.cli.resident.selection import PrivateServer, run_events
from octabox.errors import MissingParameterError

#: Seconds that a busy machine may take.
PATIENCE = 300.0


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a runtime folder with a short path, whose servers end with the test."""
    with tempfile.TemporaryDirectory(prefix="ob") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        folder = runtime_folder()
        assert folder is not None
        yield folder
        end_servers(folder, only_idle=False)


async def answers(server: PrivateServer) -> bool:
    """Return whether a server refuses a request without a model."""
    try:
        return [] != [event async for event in server.run_events(RunOptions(None))]
    except MissingParameterError:
        return True


def wait_for_the_end(path: Path) -> None:
    """Wait until no server listens on a socket."""
    end = time.monotonic() + PATIENCE
    while is_alive(path):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_private_server_stays_for_its_program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However short idle servers stay, and when another server needs memory; it is started again once it was stopped."""
    monkeypatch.setenv("OCTABOX_KEEP_ALIVE", "0")
    monkeypatch.setattr(launcher, "START_TIMEOUT", PATIENCE)
    with PrivateServer(None) as server:
        (path,) = folder.glob(f"*-{os.getpid()}.sock")
        assert await answers(server)
        await asyncio.sleep(resident.INTERVAL / 4)  # One without an owner would look at the clock every 0.05 s.

        assert [] == end_servers(folder)
        assert is_alive(path)
        assert 1 == len(end_servers(folder, only_idle=False))
        wait_for_the_end(path)
        assert await answers(server)
    wait_for_the_end(path)


async def test_a_server_that_ends_at_once_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Octabox, which says what to do, after the one that was found and the one that was started."""
    monkeypatch.setattr(selection, "find_server", lambda _: folder / "found.sock")
    monkeypatch.setattr(selection, "_start", lambda _: folder / "started.sock")

    with pytest.raises(ServerGoneError, match=r"has ended before the request.*--local"):
        [event async for event in run_events(RunOptions("demo"), None)]
