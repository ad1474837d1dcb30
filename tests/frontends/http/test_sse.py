"""Server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from octabox.errors import GenerationError, MediaError
from octabox.frontends.http.sse import EventStream, chained, ended_by_errors, event, first_of


class Source:
    """Yields numbers, then fails or waits; it knows whether it was closed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.closed = error, False

    async def __call__(self) -> AsyncGenerator[str, None]:
        """Yield one event, and then do what is asked for."""
        try:
            yield "one"
            if self.error:
                raise self.error
            await asyncio.sleep(60)
        finally:
            self.closed = True


def test_an_event_is_one_block() -> None:
    """Text of several lines does not break an event apart."""
    shown = event("output", {"text": "a\n\nb"})

    assert shown.startswith("event: output\ndata: ")
    assert shown.endswith("}\n\n")
    assert 3 == shown.count("\n")


@pytest.mark.parametrize(
    ("error", "code"), [(MediaError("Bad."), "invalid_image"), (ValueError("x"), "internal_error")]
)
async def test_an_error_is_the_last_event(error: Exception, code: str) -> None:
    """An error has its usual shape; one that nobody expected tells nothing more."""
    source = Source(error)
    told = [each async for each in ended_by_errors(source())]

    assert "one" == told[0]
    assert code == json.loads(told[1].partition("data: ")[2])["error"]["code"]
    assert "ValueError" not in told[1]
    assert source.closed


async def test_first_and_rest() -> None:
    """The first event is waited for, and comes before the others; where there is none, that is an error."""

    async def numbers(count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    events = numbers(3)
    first = await first_of(events)

    assert [0, 1, 2] == [each async for each in chained(first, events)]
    with pytest.raises(GenerationError):
        await first_of(numbers(0))


async def test_a_client_that_goes_away_closes_the_source() -> None:
    """Even events that nobody has asked for yet end what they are made of."""
    source, told = Source(), Source()
    events, made = source(), told()
    await anext(events)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await asyncio.sleep(60)

    stream = EventStream(made, events)
    await asyncio.wait_for(stream({"type": "http", "path": "/"}, receive, send), 5)

    assert source.closed
