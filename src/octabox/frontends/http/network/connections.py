"""Limits of connections: their number, and the time that a client has to send headers and to read a response."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from octabox.frontends.http.errors import build_error_body
from octabox.frontends.naming.json_values import encode_json

logger = logging.getLogger("octabox.http")

#: Maximum number of connections that the system holds until they are accepted.
MAX_BACKLOG = 128

#: Fraction of the free file descriptors for connections; the others are for workers, files and accepted connections.
SHARE = 2

#: Seconds between two messages about connections that cannot be accepted.
LOG_INTERVAL = 60.0

#: Errors of a system that has no resources for another connection.
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of connections.

    Args:
        header_timeout: Seconds that a client has to send the headers of a request.
        stall_timeout: Seconds after which a client that does not read its response is disconnected.
        keep_alive_timeout: Seconds until a connection without a request is closed.
        max_connections: Maximum number of connections.
    """

    header_timeout: float = 15.0
    stall_timeout: float = 60.0
    keep_alive_timeout: float = 30.0
    max_connections: int = 1000

    @property
    def backlog(self) -> int:
        """Maximum number of connections to accept together; the system needs a file descriptor for each."""
        return max(1, min(MAX_BACKLOG, self.max_connections // SHARE))


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 with limits, which uvicorn has for idle connections only."""

    limits = ConnectionLimits()
    _header_timer: asyncio.TimerHandle | None = None
    _sending_timer: asyncio.TimerHandle | None = None
    _idle_since = 0.0
    _reading = False

    @property
    def serving(self) -> bool:
        """Whether a request is being served."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base class
        """Limit the number of connections, and wait for the headers of a request."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        if len(self.connections) > self.limits.max_connections:
            self._make_room()
        self._watch_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the timers."""
        super().connection_lost(exc)
        for timer in (self._header_timer, self._sending_timer):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        self._reading = True
        super().data_received(data)
        self._watch_headers()

    def on_response_complete(self) -> None:
        """Wait until the response is sent, and for the next request."""
        self._idle_since, self._reading = self.loop.time(), False
        super().on_response_complete()
        self._watch_sending()

    def pause_writing(self) -> None:
        """Wait until the client reads."""
        super().pause_writing()
        self._watch_sending()

    def _watch_headers(self) -> None:
        """Start the timer of the headers unless it runs: single bytes do not prolong it. End it once they are complete."""
        if self.serving:
            if self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None
        elif self._header_timer is None and not self.transport.is_closing():
            self._header_timer = self.loop.call_later(self.limits.header_timeout, self._on_header_timeout)

    def _on_header_timeout(self) -> None:
        """Close a connection whose client has not sent complete headers."""
        self._header_timer = None
        if self._reading and self.conn.our_state is h11.IDLE:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The headers of the request were not sent in time.", "timeout")
        else:
            self.transport.close()

    def _watch_sending(self, unsent: int = -1) -> None:
        """Check repeatedly that the client reads its response, and close the connection if it does not.

        Args:
            unsent: Bytes that were not sent at the last check; -1 at the first.
        """
        if self._sending_timer is not None:
            self._sending_timer.cancel()
            self._sending_timer = None
        left = self.transport.get_write_buffer_size()
        if left and left == unsent:
            self.transport.abort()
        elif left:
            self._sending_timer = self.loop.call_later(self.limits.stall_timeout, self._watch_sending, left)

    def _make_room(self) -> None:
        """Close the connection that has been idle for longest; without one, refuse this one."""
        others = [each for each in self.connections if isinstance(each, LimitedProtocol) and each is not self]
        idle = [each for each in others if not each.serving and not each.transport.is_closing()]
        if idle:
            min(idle, key=lambda each: each._idle_since).transport.abort()  # noqa: SLF001 (an instance of this class)
        else:
            message = f"All {self.limits.max_connections} connections are in use."
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, message, "too_many_connections")

    def _refuse(self, status: HTTPStatus, message: str, code: str) -> None:
        """Respond to a connection without a request, and close it."""
        type_ = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
        body = encode_json(build_error_body(message, type_, code)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        headers += [(b"retry-after", b"1"), (b"connection", b"close")]
        events = (
            h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def protocol_of(limits: ConnectionLimits) -> type[LimitedProtocol]:
    """Return the protocol with these limits; uvicorn creates an object of it for each connection."""
    return type("Protocol", (LimitedProtocol,), {"limits": limits})


def possible_connections(requested: int) -> int:
    """Return how many connections the limit on open files of this process allows, at most as many as requested."""
    try:
        import resource  # noqa: PLC0415 (not every system has it)

        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = len(list(Path("/proc/self/fd").iterdir()))
    except (ImportError, OSError):
        return requested
    if allowed == resource.RLIM_INFINITY:
        return requested
    possible = max(1, min(requested, (allowed - used) // SHARE))
    if possible < requested:
        logger.info("At most %d connections are open together: this process may open %d files", possible, allowed)
    return possible


class AcceptErrorHandler:
    """Exception handler of an event loop that logs seldom that connections cannot be accepted; asyncio logs each attempt."""

    def __init__(self) -> None:
        self._logged = -LOG_INTERVAL

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an exception that was raised in no task."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in EXHAUSTED and "socket" in context):
            loop.default_exception_handler(context)
        elif time.monotonic() - self._logged >= LOG_INTERVAL:
            self._logged = time.monotonic()
            logger.warning("No connection can be accepted for now: %s", error.strerror)
