"""Listen for HTTP requests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace

import uvicorn
from fastapi import FastAPI

from octabox.errors import ConfigError, OctaboxError
from octabox.frontends.http.network.connections import (
    AcceptErrorHandler,
    ConnectionLimits,
    possible_connections,
    protocol_of,
)

#: Seconds that running requests have to end when the server is stopped.
SHUTDOWN_TIMEOUT = 5


async def _do_nothing() -> None:
    """Do nothing."""


def listen(
    app: FastAPI,
    host: str,
    port: int,
    on_listening: Callable[[str], None],
    interrupt: Callable[[], Awaitable[None]] = _do_nothing,
    limits: ConnectionLimits | None = None,
) -> None:
    """Serve an application until the process receives a signal to stop.

    Args:
        app: The application.
        host: Address to listen on.
        port: Port to listen on; 0 selects a free one.
        on_listening: Called with the URL of the server once it accepts requests.
        interrupt: Awaited when the server stops. It ends what requests wait for, so that each gets a response.
        limits: Limits of connections.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    limits = limits or ConnectionLimits()
    limits = replace(limits, max_connections=possible_connections(limits.max_connections))
    listener = _bind(host, port, limits.backlog)
    displayed_host = f"[{host}]" if ":" in host else host
    url = f"http://{displayed_host}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        app,
        http=protocol_of(limits),
        loop="asyncio",  # The loop that is tested, also where uvloop is installed.
        backlog=limits.backlog,
        timeout_keep_alive=limits.keep_alive_timeout,  # type: ignore[arg-type] # it is a delay of the event loop
        log_config=None,
        access_log=False,
        proxy_headers=False,  # See `ForwardedHeaders`.
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
        asyncio.get_running_loop().set_exception_handler(AcceptErrorHandler())
        await super().startup(sockets)
        if self.started:
            self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what requests wait for, then stop."""
        await self._interrupt()
        await super().shutdown(sockets)


def _bind(host: str, port: int, backlog: int) -> socket.socket:
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
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        message = f"{host}:{port} cannot be listened on: {error.strerror or error}."
        raise ConfigError(message, hint="Set another with --port; 0 selects a free one.", parameter="port") from error
    return listener
