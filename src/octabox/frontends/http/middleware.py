"""Middleware for all routes: server errors, hosts, and the size of bodies."""

from __future__ import annotations

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

#: Key of a scope with the ``Host`` that the last proxy sent, where the header has been replaced by the client's.
RECEIVED_HOST = "octabox.received_host"

#: Paths of probes, load balancers and monitors: they may use the server's address, and are served until its end.
PROBES = ("/health", "/healthz", "/readyz", "/metrics")

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
    """

    def __init__(self, app: ASGIApp, policy: HostPolicy) -> None:
        self._app, self._policy = app, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http":
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
