"""The socket of a server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette

from octabox.cli.resident.connection import is_alive
from octabox.cli.resident.serving import SocketServer


@pytest.fixture
def path() -> Iterator[Path]:
    """Return a short path for a socket."""
    with tempfile.TemporaryDirectory(prefix="ob") as name:
        yield Path(name, "a.sock")


async def test_a_server_that_ends_leaves_the_socket_of_its_successor(path: Path) -> None:
    """Which another has bound at the same path since the first was told to end."""
    first, second = SocketServer(path, Starlette()), SocketServer(path, Starlette())
    assert first.start()
    assert second.start() is None
    first.remove()
    second = SocketServer(path, Starlette())
    assert second.start()
    first.remove()
    await first.stop()

    assert is_alive(path)
    await second.stop()
    assert not path.exists()


async def test_a_server_whose_socket_was_replaced_leaves_it(path: Path) -> None:
    """Such as by a program that took the server for a killed one."""
    first, second = SocketServer(path, Starlette()), SocketServer(path, Starlette())
    assert first.start()
    path.unlink()
    assert second.start()
    await first.stop()

    assert is_alive(path)
    await second.stop()
