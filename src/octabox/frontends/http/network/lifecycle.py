"""The end of the server: requests that wait or run end with a response, and new ones are refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from octabox.errors import ServerStoppingError
from octabox.frontends.http.errors import error_body, error_headers, http_error
from octabox.frontends.http.middleware import PROBES, SafeJson, TrackedResponse

logger = logging.getLogger("octabox.http")

#: Seconds that requests have to end by themselves after the engine has ended their calls; then they are cancelled.
SHUTDOWN_TIMEOUT = 1.0

#: Seconds that the engine has to end its calls.
ENGINE_TIMEOUT = 10.0


class Lifecycle:
    """Whether the server is being stopped, and the requests that it then has to end; `answered` is set after the first one."""

    def __init__(self) -> None:
        self.stopping = False
        self.answered = asyncio.Event()
        self._requests: set[asyncio.Task[Any]] = set()

    async def stop(self, end_calls: Callable[[], Awaitable[None]]) -> None:
        """Refuse new requests, and end the others, in a limited time.

        Args:
            end_calls: Ends the calls that requests wait for, so that each has a typed error.
        """
        self.stopping = True
        logger.info("The server is being stopped; %d requests are ended", len(self._requests))
        await asyncio.gather(_limited(end_calls), self._end_requests())

    async def run(self, request: Awaitable[None]) -> None:
        """Run a request, which `stop` ends.

        Raises:
            ServerStoppingError: It was cancelled by the end of the server.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine runs in a task)
        self._requests.add(task)
        try:
            await request
        except asyncio.CancelledError:
            if not self.stopping:
                raise
            raise ServerStoppingError from None
        finally:
            self._requests.discard(task)
            self.answered.set()

    async def _end_requests(self) -> None:
        """Wait for the end of the requests, and cancel those that take too long, such as one whose body does not end."""
        if self._requests:
            await asyncio.wait(self._requests, timeout=SHUTDOWN_TIMEOUT)
        for task in self._requests:
            task.cancel()
        if self._requests:
            await asyncio.wait(self._requests, timeout=SHUTDOWN_TIMEOUT)


class StopGate:
    """Answers requests with an error while the server is being stopped.

    Args:
        app: The next application.
        lifecycle: Whether the server is being stopped.
    """

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self._app, self._lifecycle = app, lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._lifecycle.stopping and scope["path"] not in PROBES:
            await _refuse(ServerStoppingError(), scope, receive, send)
            return
        response = TrackedResponse(send)
        try:
            await self._lifecycle.run(self._app(scope, receive, response))
        except ServerStoppingError as error:
            # Of a response that has started, nothing can be changed; the connection is closed.
            if not response.started:
                await _refuse(error, scope, receive, send)


async def _limited(end_calls: Callable[[], Awaitable[None]]) -> None:
    """Call a function, but do not wait for it indefinitely."""
    try:
        await asyncio.wait_for(end_calls(), ENGINE_TIMEOUT)
    except asyncio.TimeoutError:
        logger.warning("The calls of the engine did not end within %g seconds", ENGINE_TIMEOUT)


async def _refuse(error: ServerStoppingError, scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with an error, after which the connection is closed."""
    headers = {**error_headers(error), "connection": "close"}
    await SafeJson(error_body(error), http_error(error).status, headers)(scope, receive, send)
