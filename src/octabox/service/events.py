"""The events of a request: wait for the result, and observe the request while it runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager

from octabox.errors import GenerationCancelledError, GenerationError, ModelNotFoundError, OctaboxError
from octabox.security.clients import current_client
from octabox.service.protocols import RequestObserver
from octabox.telemetry.request_line import describe_generation
from octabox.types import Event, Generation, GenerationRequest, Progress

logger = logging.getLogger("octabox.generation")

#: The model of requests for models that do not exist, so that clients cannot create metrics without limit.
UNKNOWN = "(unknown)"


async def result_of(
    events: AsyncGenerator[Event, None], on_progress: Callable[[Progress], None] | None = None
) -> Generation:
    """Return the result that events end with, and close them.

    Args:
        events: The events of a request.
        on_progress: Called with each event before the result.

    Raises:
        GenerationError: They end without a result.
    """
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Generation):
                return event
            if on_progress is not None:
                on_progress(event)
    raise GenerationError("The engine ended a request without a result.")


@contextmanager
def observed(request: GenerationRequest, observers: Iterable[RequestObserver]) -> Iterator[list[Generation]]:
    """Log a request and report its end to observers; the result is appended to the yielded list."""
    start, model, outcome, results = time.monotonic(), request.model, "ok", list[Generation]()
    try:
        yield results
    except (asyncio.CancelledError, GeneratorExit):
        # A client that disconnects after the result has cancelled nothing.
        outcome = "ok" if results else GenerationCancelledError.__name__
        raise
    except OctaboxError as error:
        model = UNKNOWN if isinstance(error, ModelNotFoundError) else model
        outcome = type(error).__name__
        logger.info("%s: %s", request.model, error)
        raise
    except Exception as error:
        outcome = type(error).__name__
        raise
    finally:
        kinds = [artifact.kind for each in results for artifact in each.artifacts]
        for each in results:
            logger.info("%s", describe_generation(each, current_client.get(), time.monotonic() - start))
        # Where it ran alone, its metadata have no number.
        batches = [artifact.metadata.get("batch", 1) for each in results for artifact in each.artifacts]
        timings = results[-1].timings if results else {}
        for observer in observers:
            observer.count_request(model, outcome, time.monotonic() - start, kinds, timings, batches)
