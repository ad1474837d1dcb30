"""Server-sent events, which end when their client goes away."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, TypeVar

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from octabox.errors import GenerationCancelledError, GenerationError, OctaboxError
from octabox.frontends.http import errors
from octabox.frontends.http.disconnect import cancel_on_disconnect

T = TypeVar("T")

logger = logging.getLogger("octabox.http")


class EventStream(StreamingResponse):
    """Sends events until they end or the client goes away.

    Args:
        events: What is sent.
        source: What they are made of; it is closed when the stream ends.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str, None], source: AsyncGenerator[Any, None]) -> None:
        super().__init__(events, headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        self._events, self._source = events, source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream; closing the events cancels what makes them."""
        try:
            await cancel_on_disconnect(receive, self.stream_response(send))
        except (GenerationCancelledError, OSError):
            logger.info("%s: the client went away", scope["path"])
        finally:
            await self._events.aclose()
            # Events that nobody has asked for yet do not close what they are made of.
            await self._source.aclose()


def event(name: str, data: Any) -> str:
    """Return an event as it is sent."""
    return f"event: {name}\ndata: {json.dumps(data, default=str)}\n\n"


async def ended_by_errors(events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Yield events; what goes wrong among them is the last, and has the shape of every other error."""
    try:
        async for each in events:
            yield each
    except OctaboxError as error:
        yield event("error", errors.body(error))
    except Exception:
        logger.exception("A stream broke")
        message = "Something went wrong inside the server; its log says what."
        yield event("error", errors.plain_body(message, "server_error", "internal_error"))
    finally:
        await events.aclose()


async def first_of(events: AsyncIterator[T]) -> T:
    """Return the first event; what goes wrong before it can still be an answer of its own.

    Raises:
        GenerationError: There is none.
    """
    async for each in events:
        return each
    raise GenerationError("The engine ended a request without a result.")


async def chained(first: T, rest: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yield an event that has been waited for, then the others."""
    yield first
    async for each in rest:
        yield each
