"""What stands around every route: a limit on what is read, and an answer when something breaks."""

from __future__ import annotations

import json
import logging
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from octabox.errors import SecurityError
from octabox.frontends.http.errors import body, http_error, plain_body
from octabox.security.hosts import HostPolicy

logger = logging.getLogger("octabox.http")


class SafeJson(JSONResponse):
    """JSON in ASCII alone, so that even half a character that a client sent can be named in the answer."""

    def render(self, content: Any) -> bytes:
        """Return the bytes of the body."""
        return json.dumps(content, separators=(",", ":"), default=str).encode("ascii")


class ServerErrorMiddleware:
    """Answers 500 when something unexpected breaks, and logs where; the client learns no more than that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            logger.exception("%s %s broke", scope["method"], scope["path"])
            if started:
                raise
            message = "Something went wrong inside the server; its log says what."
            await SafeJson(plain_body(message, "server_error", "internal_error"), 500)(scope, receive, send)


class HostGuard:
    """Refuses requests of other sites' pages, and those to hosts that are not this server's.

    Args:
        app: What is behind.
        policy: Decides which are.
    """

    def __init__(self, app: ASGIApp, policy: HostPolicy) -> None:
        self._app, self._policy = app, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            try:
                self._policy.check(headers.get("host"), headers.get("origin"), scope["scheme"])
            except SecurityError as error:
                await SafeJson(body(error), http_error(error).status)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses bodies that are too large, while they are read: a header may be missing, or lie.

    Args:
        app: What is behind.
        limit: Bytes of a body.
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
        if declared.isdigit() and int(declared) > self._limit:
            refusal = plain_body(self._message, "invalid_request_error", "request_too_large")
            await SafeJson(refusal, 413, {"connection": "close"})(scope, receive, send)
            return
        read = 0

        async def receiving() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise HTTPException(413, self._message)
            return message

        await self._app(scope, receiving, send)

    @property
    def _message(self) -> str:
        return f"The request is larger than the {self._limit} bytes that are allowed."
