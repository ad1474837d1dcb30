"""HEAD requests: the response of GET without its body (RFC 9110)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Prefix of the routes that respond to HEAD themselves, without reading a file.
WITH_HEAD = "/results/"


class HeadRequests:
    """Serves HEAD as GET, and leaves out the body.

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
