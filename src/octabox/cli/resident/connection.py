"""Requests to a server in the background. It imports little, since `octabox run` starts for each image."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

from octabox.cli.requests.events import RunEvent
from octabox.cli.requests.run_options import RunOptions
from octabox.cli.resident.codec import decode_event, encode_options
from octabox.errors import GenerationError

#: Last line of a response.
END = b"end\n"

#: Seconds that a server has to respond to a question about itself.
TIMEOUT = 5.0


class ServerGoneError(GenerationError, ConnectionError):
    """A server has ended before it has received a request, which another can run."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket.

    Args:
        path: The socket.
        timeout: Seconds to wait for each part of a response; None is no limit.
    """

    def __init__(self, path: Path, timeout: float | None = TIMEOUT) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the server."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def is_alive(path: Path) -> bool:
    """Return whether a server listens on a socket."""
    with contextlib.suppress(OSError), contextlib.closing(UnixConnection(path)) as connection:
        connection.connect()
        return True
    return False


def ask(path: Path, method: str, route: str, timeout: float | None = TIMEOUT) -> Any:
    """Return the JSON response of a server; None if there is no server.

    Args:
        path: Its socket.
        method: The HTTP method.
        route: The path of the URL.
        timeout: Seconds to wait for the response; None is no limit.
    """
    with contextlib.closing(UnixConnection(path, timeout)) as connection:
        try:
            connection.request(method, route)
            return json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return None


def remote_events(path: Path, options: RunOptions) -> Iterator[RunEvent]:
    """Send options to a server and yield the events; closing the iterator cancels the request.

    Args:
        path: The socket of the server.
        options: The options.

    Raises:
        OctaboxError: The request is invalid or has failed.
        ServerGoneError: The server has ended before it has received the request.
    """
    with contextlib.closing(UnixConnection(path, None)) as connection:
        try:
            connection.request("POST", "/run", encode_options(options), {"content-type": "application/json"})
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            message = "The server in the background has ended before the request."
            raise ServerGoneError(message, hint="Repeat the command, or use --local.") from error
        with contextlib.closing(response):
            while (line := _read_line(response, path)) != END:
                # Comments keep the connection open.
                if line.strip() and not line.startswith(b":"):
                    yield decode_event(line)
            response.read()  # The server would take an early end for a cancellation.


def _read_line(response: http.client.HTTPResponse, path: Path) -> bytes:
    """Return the next line of a response.

    Raises:
        GenerationError: It has ended before its last line.
    """
    try:
        line = response.readline()
    except (OSError, http.client.HTTPException) as error:
        raise _lost(path) from error
    if not line:
        raise _lost(path)
    return line


def _lost(path: Path) -> GenerationError:
    """Return the error for a server that has ended during a request."""
    hint = f"Its log is {path.with_suffix('.log')}. Repeat the command, or use --local."
    return GenerationError("The server in the background has ended during the request.", hint=hint)


async def as_async(events: Iterator[RunEvent]) -> AsyncGenerator[RunEvent, None]:
    """Yield events that are waited for in the main thread, where Ctrl-C is handled immediately."""
    try:
        for event in events:
            yield event
    finally:
        if hasattr(events, "close"):
            events.close()
