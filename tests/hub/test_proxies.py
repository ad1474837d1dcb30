"""Proxies that the environment names: SOCKS proxies are used, and what cannot be used is named by its variable."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub import close_session

from local_hub import LocalHub
from octabox.cli.main import cli
from octabox.errors import DownloadError

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class Socks(socketserver.BaseRequestHandler):
    """Connects to IPv4 addresses, as a SOCKS5 proxy without users does (RFC 1928)."""

    used = 0

    def handle(self) -> None:
        """Pass the bytes of a connection on, in both directions."""
        client: socket.socket = self.request
        client.recv(1 + 1 + 255)
        client.sendall(b"\x05\x00")
        head = client.recv(4)
        host = socket.inet_ntoa(client.recv(4)) if head[3] == 1 else client.recv(client.recv(1)[0]).decode()
        (port,) = struct.unpack("!H", client.recv(2))
        type(self).used += 1
        with socket.create_connection((host, port)) as server:
            client.sendall(b"\x05\x00\x00\x01" + bytes(6))
            back = threading.Thread(target=pipe, args=(server, client), daemon=True)
            back.start()
            pipe(client, server)
            back.join()


def pipe(source: socket.socket, target: socket.socket) -> None:
    """Send all that a socket receives to another one."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def hub(local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    """Return a Hub with a file, without proxies, and with a client of the library that has not read them yet."""
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    local_hub.add("org/file", {"model.gguf": b"x" * 99})
    close_session()
    yield local_hub
    close_session()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_model_is_downloaded_through_a_socks_proxy(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str
) -> None:
    """The description by the library, and the file by our own client."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Socks) as proxy:
        proxy.daemon_threads, Socks.used = True, 0
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{proxy.server_address[1]}")
        result = CliRunner().invoke(cli, ["pull", "org/file", "--yes"], standalone_mode=False)
        close_session()
        proxy.shutdown()

    assert 0 == result.exit_code, result.exception
    assert b"x" * 99 == (tmp_path / "models/model.gguf").read_bytes()
    assert Socks.used >= 2


@pytest.mark.parametrize("words", [("search", "x"), ("inspect", "org/file"), ("pull", "org/file"), ("whoami",)])
@pytest.mark.parametrize(
    ("name", "url"), [("ALL_PROXY", "socks://user:secret@127.0.0.1:1080"), ("https_proxy", "http://[::1")]
)
def test_a_proxy_that_cannot_be_used_is_named(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, name: str, url: str, words: tuple[str, ...]
) -> None:
    """By its variable, without its password, and without advice about the disk."""
    monkeypatch.setenv(name, url)
    error = CliRunner().invoke(cli, [*words]).exception

    assert isinstance(error, DownloadError), error
    assert f"The proxy in {name} cannot be used" in error.message
    assert "secret" not in str(error)
    assert "disk" not in str(error)


def test_proxies_that_are_not_used_are_not_checked(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY names hosts, or all of them."""
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:1080")
    monkeypatch.setenv("NO_PROXY", "*")

    assert 0 == CliRunner().invoke(cli, ["inspect", "org/file"]).exit_code
