"""Server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from octabox.errors import GenerationError, MediaError
from octabox.frontends.http import sse
from octabox.frontends.http.sse import KEEP_ALIVE, EventStream, StartedEvents, encode_event

SCOPE = {"type": "http", "path": "/"}


class Source:
    """Yields an event, then raises an error, ends or waits; it records whether its clean-up ran to the end."""

    def __init__(self, error: Exception | None = None, wait: float = 0) -> None:
        self.error, self.wait, self.closed = error, wait, False

    async def __call__(self) -> AsyncGenerator[str, None]:
        """Yield the event and do the rest."""
        try:
            yield "one"
            await asyncio.sleep(self.wait)
            if self.error:
                raise self.error
        finally:
            await asyncio.sleep(0.01)  # Cancelling a request takes time.
            self.closed = True


class Client:
    """Receives a stream, and disconnects after an event if it is told to.

    Args:
        leave: Whether to disconnect after the first event.
        slow: Whether to read nothing after the start of the response.
    """

    def __init__(self, *, leave: bool = False, slow: bool = False) -> None:
        self.parts: list[str] = []
        self.status, self.headers = 0, dict[str, str]()
        self._leave, self._slow, self._read = leave, slow, asyncio.Event()

    async def receive(self) -> Any:
        """Return the message of a client that disconnects."""
        await (self._read.wait() if self._leave else asyncio.sleep(60))
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Take a part of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        self._read.set()
        if self._slow:
            await asyncio.sleep(60)
        if message["body"]:
            self.parts.append(message["body"].decode())

    async def read(self, source: Source, keep_alive: float = 15) -> list[str]:
        """Return the parts of a stream of these events."""
        events = source()
        await asyncio.wait_for(EventStream(events, events, keep_alive)(SCOPE, self.receive, self.send), 5)
        return self.parts


def test_an_event_is_one_block() -> None:
    """Text of several lines does not break an event apart."""
    text = encode_event("output", {"text": "a\n\nb"})

    assert text.startswith("event: output\ndata: ")
    assert text.endswith("}\n\n")
    assert 3 == text.count("\n")


async def test_a_stream_is_not_cached_or_buffered() -> None:
    """Its headers keep proxies from holding events back."""
    client = Client()
    parts = await client.read(Source())

    assert (200, ["one"]) == (client.status, parts)
    assert "text/event-stream; charset=utf-8" == client.headers["content-type"]
    assert ("no-cache", "no") == (client.headers["cache-control"], client.headers["x-accel-buffering"])


@pytest.mark.parametrize(
    ("error", "code"),
    [(MediaError("Bad."), "invalid_image"), (ValueError("x"), "internal_error"), (OSError("x"), "internal_error")],
)
async def test_an_error_is_the_last_event(error: Exception, code: str) -> None:
    """An error has its usual body; an unexpected one has no details."""
    source = Source(error)
    first, last = await Client().read(source)

    assert "one" == first
    assert last.startswith("event: error\ndata: ")
    assert code == json.loads(last.partition("data: ")[2])["error"]["code"]
    assert type(error).__name__ not in last
    assert source.closed


async def test_a_silent_stream_is_kept_alive() -> None:
    """While there is no event, comments are sent, and the event that is waited for is not lost."""
    parts = await Client().read(Source(MediaError("Late."), wait=0.2), keep_alive=0.05)

    assert "one" == parts[0]
    assert {KEEP_ALIVE} == set(parts[1:-1])
    assert len(parts[1:-1]) >= 2
    assert "Late." in parts[-1]
    assert KEEP_ALIVE.startswith(":")
    assert KEEP_ALIVE.endswith("\n\n")


@pytest.mark.parametrize("slow", [False, True], ids=["waiting for an event", "sending one"])
async def test_a_client_that_disconnects_closes_the_source(*, slow: bool) -> None:
    """The clean-up of the events runs to its end, whether one is waited for or sent."""
    source = Source(wait=60)
    await Client(leave=True, slow=slow).read(source)

    assert source.closed


async def test_a_source_that_was_not_read_is_closed() -> None:
    """A client that disconnects before the first event ends what the events are made from."""
    source, unread = Source(wait=60), Source()
    events = source()
    await anext(events)
    client = Client(leave=True, slow=True)
    stream = EventStream(unread(), events)
    await asyncio.wait_for(stream(SCOPE, client.receive, client.send), 5)

    assert source.closed


async def numbers(count: int) -> AsyncGenerator[int, None]:
    """Yield numbers from 0."""
    for number in range(count):
        yield number


async def test_started_events() -> None:
    """Events that have started are all there; a generator without events is an error."""
    events = StartedEvents(numbers(3))
    await events.start()

    assert [0, 1, 2] == [each async for each in events]
    with pytest.raises(GenerationError):
        await StartedEvents(numbers(0)).start()


async def test_a_late_first_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes longer than the headers may wait is an event of the stream, also if it is an error."""
    monkeypatch.setattr(sse, "START_TIMEOUT", 0.01)

    async def failing() -> AsyncGenerator[str, None]:
        await asyncio.sleep(0.05)
        raise MediaError("Late.")
        yield ""

    events = StartedEvents(failing())
    await events.start()
    client = Client()

    async def encoded() -> AsyncGenerator[str, None]:
        async for each in events:
            yield each

    await asyncio.wait_for(EventStream(encoded(), events)(SCOPE, client.receive, client.send), 5)

    assert 200 == client.status
    assert "Late." in client.parts[-1]


async def test_events_that_nobody_awaits_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing them before the first event runs the clean-up of what they come from to its end."""
    monkeypatch.setattr(sse, "START_TIMEOUT", 0.01)
    closed = []

    async def waiting() -> AsyncGenerator[str, None]:
        try:
            await asyncio.sleep(60)
            yield ""
        finally:
            closed.append(True)

    events = StartedEvents(waiting())
    await events.start()
    await events.aclose()

    assert [True] == closed
