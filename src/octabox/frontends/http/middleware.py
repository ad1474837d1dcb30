"""Middleware for all routes: server errors, hosts, HEAD requests, and the size and the time of bodies."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from octabox.errors import SecurityError
from octabox.frontends.http.errors import error_body, http_error, internal_error_body
from octabox.frontends.naming.json_values import encode_json
from octabox.security.clients import current_client
from octabox.security.hosts import HostPolicy
from octabox.security.private_folders import use_folders

#: Key of a scope with the ``Host`` that the last proxy sent, where the header has been replaced by the client's.
RECEIVED_HOST = "octabox.received_host"

#: Paths of probes, load balancers and monitors: they may use the server's address, and are served until its end.
PROBES = ("/health", "/healthz", "/readyz", "/metrics")

#: Prefix of the routes that respond to HEAD themselves, without reading a file.
WITH_HEAD = "/results/"

#: Bytes in a second that a client has to send on average, after its first seconds.
MIN_RATE = 10 * 1024

logger = logging.getLogger("octabox.http")


class SafeJson(JSONResponse):
    """JSON response in ASCII, which can also hold the unpaired surrogates and the infinite numbers of a request."""

    def render(self, content: Any) -> bytes:
        """Return the bytes of the body."""
        return encode_json(content).encode("ascii")


class TrackedResponse:
    """Sends the messages of a response, and records whether it has started, after which it cannot be replaced.

    Args:
        send: Sends a message.
    """

    def __init__(self, send: Send) -> None:
        self._send, self.started = send, False

    async def __call__(self, message: Message) -> None:
        """Send a message."""
        self.started = True
        await self._send(message)


class ServerErrorMiddleware:
    """Logs unexpected exceptions and sends a response with status 500, without details."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        response = TrackedResponse(send)
        try:
            await self._app(scope, receive, response)
        except ClientDisconnect:
            logger.info("%s %s: the client disconnected before the end of its request", scope["method"], scope["path"])
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if response.started:
                raise
            await SafeJson(internal_error_body(), 500)(scope, receive, send)


class HostGuard:
    """Rejects requests from other sites' pages, and requests to hosts that are not this server's; names their clients.

    Args:
        app: The next application.
        policy: Allowed hosts and origins.
        folders: Folders of the server that errors do not name, from `private_folders`.
    """

    def __init__(self, app: ASGIApp, policy: HostPolicy, folders: tuple[str, ...] = ()) -> None:
        self._app, self._policy, self._folders = app, policy, folders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http":
            use_folders(self._folders)
            headers = Headers(scope=scope)
            is_probe = scope["path"] in PROBES and scope["method"] in {"GET", "HEAD"}
            # The name of one with valid credentials is set with their check.
            current_client.set(scope["client"][0] if scope.get("client") else "")
            try:
                if received := scope.get(RECEIVED_HOST):
                    # A page may send the headers of a proxy, but not another `Host`.
                    self._policy.check(received, None, is_probe=is_probe)
                self._policy.check(headers.get("host"), headers.get("origin"), scope["scheme"], is_probe=is_probe)
            except SecurityError as error:
                await SafeJson(error_body(error), http_error(error).status)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class HeadRequests:
    """Serves HEAD as GET, and leaves out the body (RFC 9110).

    Args:
        app: The next application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"].startswith(WITH_HEAD):
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, send_without_body)


class BodyLimit:
    """Rejects bodies that are too large. Bytes are counted as they are read, because the header may be missing or wrong.

    Args:
        app: The next application.
        limit: Maximum number of bytes of a body.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and len(declared) > len(str(self._limit)) + 1:
            declared = b"9" * (len(str(self._limit)) + 1)
        is_larger = declared.isdigit() and int(declared) > self._limit
        read = 0

        async def receive_and_count() -> Message:
            nonlocal read
            if is_larger:
                # The route responds, in the format of its API.
                raise HTTPException(413, self._message, {"connection": "close"})
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise HTTPException(413, self._message)
            return message

        await self._app(scope, receive_and_count, send)

    @property
    def _message(self) -> str:
        return f"The request is larger than the allowed {self._limit} bytes."


class BodyTimeout:
    """Rejects requests whose bodies do not end: after a time, which a large body that is being sent prolongs.

    Args:
        app: The next application.
        seconds: Seconds for a body, in addition to those for its bytes.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app, self._seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        complete, deadline = False, 0.0

        async def receive_in_time() -> Message:
            nonlocal complete, deadline
            if complete:
                # What follows the body is the end of the connection.
                return await receive()
            deadline = deadline or loop.time() + self._seconds
            try:
                message = await asyncio.wait_for(receive(), max(deadline - loop.time(), 0))
            except asyncio.TimeoutError:
                raise HTTPException(
                    408, "The body of the request was not sent in time.", {"connection": "close"}
                ) from None
            complete = not message.get("more_body", False)
            deadline += len(message.get("body", b"")) / MIN_RATE
            return message

        await self._app(scope, receive_in_time, send)
