"""Counts requests and their time for the metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from octabox.errors import GenerationCancelledError, ModelNotFoundError
from octabox.service.protocols import GenerationService
from octabox.telemetry.metrics import Metrics
from octabox.types import Event, Generation, GenerationRequest

#: Stands for all models that there are not, so that clients cannot make figures without end.
UNKNOWN = "(unknown)"


class Metered:
    """Runs requests and counts them.

    Args:
        inner: What really runs them.
        metrics: Where they are counted.
    """

    def __init__(self, inner: GenerationService, metrics: Metrics) -> None:
        self._inner, self._metrics = inner, metrics

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Run a request and yield its progress, then its result; closing the iterator cancels it."""
        events = self._inner.stream(request)
        with self._counted(request) as artifacts:
            try:
                async for event in events:
                    if isinstance(event, Generation):
                        artifacts += [artifact.kind for artifact in event.artifacts]
                    yield event
            finally:
                await events.aclose()

    async def generate(self, request: GenerationRequest) -> Generation:
        """Run a request and return its result; cancelling the task cancels it."""
        with self._counted(request) as artifacts:
            generation = await self._inner.generate(request)
            artifacts += [artifact.kind for artifact in generation.artifacts]
            return generation

    @contextmanager
    def _counted(self, request: GenerationRequest) -> Iterator[list[str]]:
        """Count what runs inside; the list is for the kinds of its artifacts."""
        start, model, outcome, kinds = time.monotonic(), request.model, "ok", list[str]()
        try:
            yield kinds
        except (asyncio.CancelledError, GeneratorExit):
            # A client that hangs up once it has its result has cancelled nothing.
            outcome = "ok" if kinds else GenerationCancelledError.__name__
            raise
        except ModelNotFoundError as error:
            model, outcome = UNKNOWN, type(error).__name__
            raise
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            self._metrics.count_request(model, outcome, time.monotonic() - start, kinds)
