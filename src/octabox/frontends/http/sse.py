"""Server-sent events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any, Generic, TypeVar

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from octabox.errors import GenerationCancelledError, GenerationError, OctaboxError
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.errors import error_body, internal_error_body
from octabox.frontends.naming.json_values import encode_json

T = TypeVar("T")

logger = logging.getLogger("octabox.http")

#: Seconds in which an error has a status; after them the headers are sent, and an error is an event. Fetching the media of a
#: request may take longer than clients and proxies wait for headers.
START_TIMEOUT = 1.0

#: Seconds without an event after which a comment is sent, because proxies close idle connections.
KEEP_ALIVE_INTERVAL = 15.0

#: A comment, which clients ignore.
KEEP_ALIVE = ": keep-alive\n\n"


class EventStream(StreamingResponse):
    """Response that sends events until they end or the client disconnects.

    An exception becomes a last event named ``error``, with the body of an error response.

    Args:
        events: Encoded events. Closing them cancels the request that they come from.
        source: What the events are made from. It is closed too, because a generator that was never started does not
            close what it reads from.
        keep_alive: Seconds without an event after which a comment is sent.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[str, None],
        source: AsyncGenerator[Any, None] | StartedEvents[Any],
        keep_alive: float = KEEP_ALIVE_INTERVAL,
    ) -> None:
        super().__init__(events, headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        self._events, self._source, self._keep_alive = events, source, keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await cancel_on_disconnect(receive, self.stream_response(send))
        except (GenerationCancelledError, OSError):
            logger.info("%s: the client disconnected", scope["path"])
        finally:
            await self._events.aclose()
            await self._source.aclose()

    async def stream_response(self, send: Send) -> None:
        """Send the start, each event and the end."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while (text := await self._next_event(send)) is not None:
            await _send_text(send, text)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next_event(self, send: Send) -> str | None:
        """Return the next event, None after the last. Comments are sent until it is there."""
        # The timeout of a comment must not cancel what is waited for.
        task = asyncio.ensure_future(anext(self._events))
        try:
            while not (await asyncio.wait({task}, timeout=self._keep_alive))[0]:
                await _send_text(send, KEEP_ALIVE)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        try:
            return task.result()
        except StopAsyncIteration:
            return None
        except OctaboxError as error:
            return encode_event("error", error_body(error))
        except Exception:
            logger.exception("An event stream failed")
            return encode_event("error", internal_error_body())


async def _send_text(send: Send, text: str) -> None:
    """Send a part of the body."""
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


def encode_event(name: str, data: Any, event_id: int | None = None) -> str:
    """Return the text of an event with JSON data, and with an id if a client can continue from it."""
    first = "" if event_id is None else f"id: {event_id}\n"
    return f"{first}event: {name}\ndata: {encode_json(data)}\n\n"


class StartedEvents(Generic[T]):
    """Events whose first is awaited from the beginning.

    Args:
        events: The events.
    """

    def __init__(self, events: AsyncGenerator[T, None]) -> None:
        self._events = events
        self._first: asyncio.Task[T] | None = asyncio.create_task(_first_of(events))

    async def start(self) -> None:
        """Wait for the first event, but not longer than `START_TIMEOUT`.

        An error before the first event is raised, so that it becomes an error response.
        """
        if self._first is not None:
            await asyncio.wait({self._first}, timeout=START_TIMEOUT)
            if self._first.done():
                self._first.result()

    def __aiter__(self) -> StartedEvents[T]:
        return self

    async def __anext__(self) -> T:
        if self._first is None:
            return await anext(self._events)
        first, self._first = self._first, None
        return await first

    async def aclose(self) -> None:
        """Close the events."""
        if self._first is not None:
            # A generator cannot be closed while its next event is awaited.
            self._first.cancel()
            await asyncio.gather(self._first, return_exceptions=True)
        await self._events.aclose()


async def _first_of(events: AsyncGenerator[T, None]) -> T:
    """Return the first event.

    Raises:
        GenerationError: There is no event.
    """
    async for each in events:
        return each
    raise GenerationError("The engine ended a request without a result.")
