"""The time that a client has to send the body of a request."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Bytes in a second that a client has to send on average, after its first seconds.
MIN_RATE = 10 * 1024


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
