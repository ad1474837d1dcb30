"""The events of a request: their result, and what observers count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping

import pytest

from octabox.errors import GenerationError, ModelNotFoundError, OctaboxError
from octabox.service.events import UNKNOWN, observed, result_of
from octabox.types import Artifact, Event, Generation, GenerationRequest, Progress

RESULT = Generation("a", "m", "FakePipeline", "text-to-image", (Artifact("image", "image/png", b"x"),))


class Counter:
    """Keeps what was counted."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, str, list[str]]] = []
        self.batches: list[int] = []

    def count_request(
        self,
        model: str,
        outcome: str,
        seconds: float,
        kinds: Iterable[str] = (),
        timings: Mapping[str, float] | None = None,
        batches: Iterable[int] = (),
    ) -> None:
        """Keep a request."""
        assert seconds >= 0
        self.batches += batches
        self.counted.append((model, outcome, [*kinds]))


async def stream(*events: Event | Exception, counter: Counter | None = None) -> AsyncGenerator[Event, None]:
    """Yield events; an exception is raised."""
    with observed(GenerationRequest("m"), [counter] if counter else []) as results:
        for event in events:
            await asyncio.sleep(0)
            if isinstance(event, Exception):
                raise event
            if isinstance(event, Generation):
                results.append(event)
            yield event


async def test_the_result_is_returned_and_the_progress_reported() -> None:
    """Whatever follows the result is not read."""
    progress: list[Progress] = []
    events = stream(Progress("queued"), Progress("running"), RESULT, GenerationError("not read"))

    assert RESULT == await result_of(events, progress.append)
    assert ["queued", "running"] == [each.phase for each in progress]


async def test_events_without_a_result_are_an_error() -> None:
    """An engine that ends without one has failed."""
    with pytest.raises(GenerationError, match="without a result"):
        await result_of(stream(Progress("queued")))


@pytest.mark.parametrize(
    ("error", "model", "outcome"),
    [
        (ModelNotFoundError("x"), UNKNOWN, "ModelNotFoundError"),
        (GenerationError("x"), "m", "GenerationError"),
        (OctaboxError("x"), "m", "OctaboxError"),
        (ValueError("x"), "m", "ValueError"),
    ],
)
async def test_an_error_is_counted_by_its_class(error: Exception, model: str, outcome: str) -> None:
    """Names of models that do not exist are not counted, since clients invent them without limit."""
    counter = Counter()
    with pytest.raises(type(error)):
        await result_of(stream(Progress("queued"), error, counter=counter))

    assert [(model, outcome, [])] == counter.counted


async def test_a_client_that_leaves_after_the_result_has_cancelled_nothing() -> None:
    """One that leaves before it has."""
    early, late = Counter(), Counter()
    leaving = stream(Progress("queued"), RESULT, counter=early)
    await anext(leaving)
    await leaving.aclose()
    await result_of(stream(RESULT, counter=late))

    assert [("m", "GenerationCancelledError", [])] == early.counted
    assert [("m", "ok", ["image"])] == late.counted


async def test_a_cancelled_task_is_counted_once() -> None:
    """It raises on, and is not a failure of the engine."""
    counter = Counter()

    async def wait() -> None:
        with observed(GenerationRequest("m"), [counter]):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [("m", "GenerationCancelledError", [])] == counter.counted
