"""Clients that do not finish, that do nothing, that do not read, and that are too many."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from octabox.frontends.http.network import connections, listening
from octabox.frontends.http.network.connections import AcceptErrorHandler, ConnectionLimits, possible_connections

LIMITS = ConnectionLimits(header_timeout=0.4, stall_timeout=0.4, keep_alive_timeout=0.4, max_connections=6)
GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
LARGE = 20 * 1024**2

#: An item for each slow request that the server has begun.
BUSY: list[int] = []


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Return the port of a server with tight limits."""
    app = FastAPI()

    @app.get("/")
    async def short() -> Response:
        return Response("ok")

    @app.get("/large")
    async def large() -> Response:
        return Response(b"x" * LARGE)

    @app.get("/slow")
    async def slow(request: Request) -> Response:
        BUSY.append(1)
        await asyncio.sleep(1.5)
        return Response("ok")

    urls: list[str] = []
    servers: list[uvicorn.Server] = []
    announced = threading.Event()

    class Kept(listening._Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            servers.append(self)
            await super().startup(sockets)

    def announce(url: str) -> None:
        urls.append(url)
        announced.set()

    original, listening._Server = listening._Server, Kept  # type: ignore[misc]
    thread = threading.Thread(target=listening.listen, args=(app, "127.0.0.1", 0, announce), kwargs={"limits": LIMITS})
    thread.start()
    assert announced.wait(20)
    yield int(urls[0].rpartition(":")[2])
    servers[0].should_exit = True
    thread.join(20)
    listening._Server = original  # type: ignore[misc]


async def answer(port: int, *sent: bytes, pause: float = 0) -> bytes:
    """Return what a server answers to bytes until it closes the connection; it has to do so in time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in sent:
            writer.write(part)
            await asyncio.sleep(pause)
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ([], b""),
        ([b"GET / HTTP/1.1\r\nhost: local"], b"HTTP/1.1 408 "),
        ([b"GET / HTTP/1.1\r\n", *[b"x-a: b\r\n"] * 2], b"HTTP/1.1 408 "),
        ([GET], b"HTTP/1.1 200 "),
        ([GET, b"GET / HTT"], b"HTTP/1.1 200 "),
    ],
    ids=["nothing", "half a header", "a header now and then", "nothing after a response", "half a header after one"],
)
async def test_a_connection_without_a_request_is_closed(port: int, sent: list[bytes], status: bytes) -> None:
    """Whether a client sends nothing, not enough, or a little again and again, its connection ends."""
    answered = await answer(port, *sent, pause=0.1 if len(sent) > 1 else 0)

    assert answered.startswith(status)
    assert bool(status) == bool(answered)


async def test_a_request_may_take_long(port: int) -> None:
    """The limits are those of clients: a request that is being served has time, on a connection that had one before."""
    answered = await answer(port, GET + GET.replace(b"/ ", b"/slow "))

    assert 2 == answered.count(b"HTTP/1.1 200 OK")


async def test_a_client_that_does_not_read_is_disconnected(port: int) -> None:
    """A response that is not read is not kept in memory."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(GET.replace(b"/ ", b"/large "))
        await asyncio.sleep(2)
        client.settimeout(5)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(2**20):
                received += len(part)

    assert received < LARGE


async def test_idle_connections_make_room(port: int) -> None:
    """Where there are too many connections, the longest idle ones are closed, and whoever sends a request is served."""
    with contextlib.ExitStack() as idle:
        for _ in range(9):
            idle.enter_context(socket.create_connection(("127.0.0.1", port)))
        answered = await answer(port, GET)

    assert answered.startswith(b"HTTP/1.1 200 ")


async def test_busy_connections_are_not_closed(port: int) -> None:
    """Where all connections are in use, a further one is refused with a typed error."""
    slow = [asyncio.create_task(answer(port, GET.replace(b"/ ", b"/slow "))) for _ in range(LIMITS.max_connections)]
    began = len(BUSY)
    while len(BUSY) < began + LIMITS.max_connections:  # noqa: ASYNC110 (another event loop adds them)
        await asyncio.sleep(0.02)
    refused = await answer(port)
    served = await asyncio.gather(*slow)

    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"too_many_connections" in refused
    assert all(each.startswith(b"HTTP/1.1 200 ") for each in served)


def test_the_limit_on_open_files_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the files that a process may open, connections take a part; nothing is changed where there are enough."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))

    assert 1 <= possible_connections(1000) < 32
    assert 1 == possible_connections(1)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert 1000 == possible_connections(1000)


def test_connections_that_cannot_be_accepted_are_logged_seldom(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of attempts are one line; any other exception is logged as ever."""
    loop, handle = asyncio.new_event_loop(), AcceptErrorHandler()
    caplog.set_level(logging.WARNING)
    for _ in range(1000):
        error = OSError(errno.EMFILE, "Too many open files")
        handle(loop, {"message": "socket.accept() out of system resource", "exception": error, "socket": object()})

    assert 1 == len(caplog.records)
    assert caplog.records[0].exc_info is None
    handle(loop, {"message": "another"})
    assert 2 == len(caplog.records)
    assert connections.LOG_INTERVAL >= 1
    loop.close()
