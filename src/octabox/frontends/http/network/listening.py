"""Listen for HTTP requests."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable

import uvicorn
from fastapi import FastAPI

from octabox.errors import ConfigError, OctaboxError

#: Seconds that running requests have to end when the server is stopped.
SHUTDOWN_TIMEOUT = 5

#: Maximum number of connections that wait to be accepted.
BACKLOG = 2048


async def _do_nothing() -> None:
    """Do nothing."""


def listen(
    app: FastAPI,
    host: str,
    port: int,
    on_listening: Callable[[str], None],
    interrupt: Callable[[], Awaitable[None]] = _do_nothing,
) -> None:
    """Serve an application until the process receives a signal to stop.

    Args:
        app: The application.
        host: Address to listen on.
        port: Port to listen on; 0 selects a free one.
        on_listening: Called with the URL of the server once it accepts requests.
        interrupt: Awaited when the server stops. It ends what requests wait for, so that each gets a response.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    listener = _bind(host, port)
    displayed_host = f"[{host}]" if ":" in host else host
    url = f"http://{displayed_host}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
    )
    server = _Server(config, lambda: on_listening(url), interrupt)
    try:
        # uvicorn raises the signal again after it has stopped.
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    finally:
        listener.close()
    if not server.started:
        raise OctaboxError("The server could not start.", hint="The reason is in its log.")


class _Server(uvicorn.Server):
    """uvicorn server that calls back when it accepts requests and when it stops."""

    def __init__(
        self, config: uvicorn.Config, on_listening: Callable[[], None], interrupt: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(config)
        self._on_listening, self._interrupt = on_listening, interrupt

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept requests."""
        await super().startup(sockets)
        if self.started:
            self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what requests wait for, then stop."""
        await self._interrupt()
        await super().shutdown(sockets)


def _bind(host: str, port: int) -> socket.socket:
    """Return a listening socket."""
    try:
        family, type_, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, type_, protocol)
    except OSError as error:
        message = f"'{host}' is not an address to listen on: {error.strerror or error}."
        raise ConfigError(message, hint="Set another with --host.", parameter="host") from error
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        message = f"{host}:{port} cannot be listened on: {error.strerror or error}."
        raise ConfigError(message, hint="Set another with --port; 0 selects a free one.", parameter="port") from error
    return listener
