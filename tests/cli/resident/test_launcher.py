"""Servers are found by their sockets."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from octabox.cli.resident import launcher
from octabox.cli.resident.launcher import StartError, end_servers, find_server, start_server
from octabox.cli.resident.runtime import runtime_folder, socket_path


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a runtime folder with a short path."""
    with tempfile.TemporaryDirectory(prefix="ob") as name:
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        folder = runtime_folder()
        assert folder is not None
        yield folder


def left_socket(path: Path) -> Path:
    """Return the socket of a server that was killed."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    return path


def test_the_socket_of_a_killed_server_is_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before another is started there, and with those of other settings."""
    left, other = left_socket(socket_path(folder, None)), left_socket(folder / "other.sock")
    launched: list[Path] = []
    monkeypatch.setattr(launcher, "_launch", lambda path, *_: launched.append(path))

    assert find_server(None) is None
    assert left == start_server(None)
    assert [left] == launched
    assert not left.exists()
    assert not other.exists()
    assert [] == end_servers(folder)


def test_a_server_that_listens_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no other is started."""
    monkeypatch.setattr(launcher, "_launch", lambda *_: pytest.fail("a server was started"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path(folder, None)))
        listener.listen()

        assert socket_path(folder, None) == find_server(None) == start_server(None)
        assert find_server(Path("elsewhere")) is None


def test_why_a_server_does_not_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of its log says it, and the error where the others are."""
    monkeypatch.setenv("OCTABOX_THREADS", "many")

    with pytest.raises(StartError, match=r"it ended with exit code .*OCTABOX_THREADS") as caught:
        start_server(None)
    assert f"Its log is {folder}" in caught.value.hint


def test_a_server_that_starts_too_slowly(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, and nothing that it has logged is taken for the reason."""
    assert folder.is_dir()
    monkeypatch.setattr(launcher, "START_TIMEOUT", 0.0)

    with pytest.raises(
        StartError, match=r"^No server could be started in the background: it did not listen within 0 s"
    ):
        start_server(None)
