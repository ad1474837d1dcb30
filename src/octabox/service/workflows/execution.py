"""Run workflows: the requests of a workflow one after another, and what is done to their images in between."""

from __future__ import annotations

import asyncio
import io
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from octabox.engine.protocol import Call
from octabox.errors import GenerationError
from octabox.media import images
from octabox.media.limits import MediaLimits
from octabox.service.events import observed, result_of
from octabox.service.generation import RequestRunner
from octabox.service.protocols import Models, ModelService
from octabox.service.workflows.changes import with_seeds
from octabox.service.workflows.followups import END
from octabox.service.workflows.planner import Step, WorkflowItem, WorkflowPlan, WorkflowPlanner
from octabox.service.workflows.sizes import SIDES
from octabox.types import Artifact, Event, Generation, GenerationRequest, OutputFormat, Progress


class WorkflowService:
    """The service of the frontends: runs requests, and the workflows of those that have one.

    Args:
        inner: Prepares and runs single requests.
        models: The models of this server.
        limits: Maximum size of media.
    """

    def __init__(self, inner: RequestRunner, models: ModelService, limits: MediaLimits) -> None:
        self._inner, self._models, self._limits = inner, models, limits

    async def prepare(self, request: GenerationRequest, models: Models | None = None) -> Call:
        """Return the call of a request; of a workflow everything is checked, and its first call is returned.

        Raises:
            OctaboxError: The request is invalid.
        """
        models = models or await self._snapshot()
        if request.workflow:
            return (await self._plan(request, models)).call
        return await self._inner.prepare(request, models)

    async def validate(self, request: GenerationRequest, models: Models | None = None) -> GenerationRequest:
        """Check a request completely, and return it with its seeds, so that it has the same result whenever it runs.

        Raises:
            OctaboxError: The request is invalid.
        """
        call = await self.prepare(request, models)
        return with_seeds(request, call.runs[0])

    async def stream(self, request: GenerationRequest, models: Models | None = None) -> AsyncGenerator[Event, None]:
        """Run a request and yield its progress, then its result; closing the iterator cancels it.

        Args:
            request: The request.
            models: The models by which it was translated; None for the current ones.
        """
        with observed(request, self._inner.observers) as results:
            models = models or await self._snapshot()
            needed = await self._inner.admit(request, models)
            async with aclosing(self._inner.download(needed)) as downloading:
                async for each in downloading:
                    yield each
            async with aclosing(await self._events(request, models)) as events:
                async for event in events:
                    if isinstance(event, Generation):
                        results.append(event)
                    yield event

    async def stream_each(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Run a request one run after another, and yield the progress and then the result of each."""
        models = await self._snapshot()
        plan = await self._plan(request, models) if request.workflow else None
        call = plan.call if plan else await self._inner.prepare(request, models)
        for single in _single_runs(call):
            run = self._planned(replace(plan, call=single), request, models) if plan else self._inner.run(single)
            async with aclosing(run) as events:
                async for event in events:
                    yield event

    async def generate(self, request: GenerationRequest, models: Models | None = None) -> Generation:
        """Run a request and return its result; cancelling the task cancels it."""
        return await result_of(self.stream(request, models))

    async def _snapshot(self) -> Models:
        return await asyncio.to_thread(self._models.snapshot)

    async def _plan(self, request: GenerationRequest, models: Models) -> WorkflowPlan:
        return await WorkflowPlanner(self._inner, models, self._limits).plan(request)

    async def _events(self, request: GenerationRequest, models: Models) -> AsyncGenerator[Event, None]:
        """Return the events of a checked request, none of which has begun."""
        if request.workflow:
            return self._planned(await self._plan(request, models), request, models)
        return self._inner.run(await self._inner.prepare(request, models))

    async def _planned(
        self, plan: WorkflowPlan, request: GenerationRequest, models: Models
    ) -> AsyncGenerator[Event, None]:
        """Run the plan of a request, and yield as `stream` does."""
        progress = ProgressAggregator(parts=1 + sum(step.request is not None for step in plan.steps))
        async with aclosing(self._inner.run(plan.call)) as events:
            async for event in events:
                if (own := progress.add(event)) is not None:
                    yield own
        first = progress.result
        items = _items(plan, first)
        for step in plan.steps:
            progress.part += step.request is not None
            for index, item in enumerate(items):
                content = item.content
                if step.request is not None:
                    async with aclosing(self._inner.run(await self._next_call(step.request(item), models))) as events:
                        async for event in events:
                            if (own := progress.add(event, index, len(items))) is not None:
                                yield own
                    content = _image(progress.result).content
                items[index] = await asyncio.to_thread(_transformed, step, item, content)
        yield Progress("encoding", part=progress.parts, parts=progress.parts)
        with progress.timed("encode"):
            artifacts = await asyncio.to_thread(_encoded, plan, first, items, request.output)
        yield progress.total(request.id, first, artifacts, plan.warnings)

    async def _next_call(self, request: GenerationRequest, models: Models) -> Call:
        """Return the call of a request after the first, which keeps the place of the workflow in the queue."""
        return replace(await self._inner.prepare(request, models), continues=True)


def _single_runs(call: Call) -> list[Call]:
    """Return a call of each run, with its own id, since the engine may have several of them."""
    return [replace(call, id=f"{call.id}-{index}", runs=(run,)) for index, run in enumerate(call.runs, 1)]


@dataclass
class ProgressAggregator:
    """Combines the progress and the results of the requests of a workflow.

    Args:
        parts: Number of parts of the workflow.
        part: The current part, from 1.
        warnings: Warnings of all requests so far.
        timings: Seconds by phase, over all requests so far.
    """

    parts: int
    part: int = 1
    warnings: list[str] = field(default_factory=list)
    timings: Mapping[str, float] = field(default_factory=dict)
    _result: Generation | None = None

    @property
    def result(self) -> Generation:
        """The result of the last request.

        Raises:
            GenerationError: It has ended without one.
        """
        if self._result is None:
            raise GenerationError("The engine ended a request without a result.")
        return self._result

    def add(self, event: Event, index: int = 0, count: int = 1) -> Progress | None:
        """Return the progress of the workflow after an event of a request; None for a result.

        Args:
            event: The event.
            index: Index of the image that the request is for.
            count: Number of images of the part.
        """
        if isinstance(event, Generation):
            self._result = event
            self.warnings += event.warnings
            self.timings = dict(Counter(self.timings) + Counter(event.timings))
            return None
        self._result = None
        step, steps = index * event.steps + event.step, count * event.steps
        output = event.output if count == 1 else index
        return replace(event, step=step, steps=steps, output=output, part=self.part, parts=self.parts)

    def total(
        self, request_id: str, first: Generation, artifacts: tuple[Artifact, ...], warnings: Sequence[str]
    ) -> Generation:
        """Return the result of the workflow."""
        unique = tuple(dict.fromkeys([*warnings, *self.warnings]))
        return replace(first, id=request_id, artifacts=artifacts, warnings=unique, timings=self.timings)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time that passes within the context to a phase."""
        began = time.perf_counter()
        yield
        self.timings = {**self.timings, phase: self.timings.get(phase, 0.0) + time.perf_counter() - began}


def _transformed(step: Step, item: WorkflowItem, content: bytes) -> WorkflowItem:
    """Return an item after a step, with the content that its request has made."""
    return replace(item, content=content if step.transform is None else step.transform(content, item.content))


def _image(generation: Generation) -> Artifact:
    """Return the first image of a result."""
    found = next((each for each in generation.artifacts if each.kind == "image"), None)
    if found is None:
        raise GenerationError(f"{generation.pipeline} made no image.", model=generation.model)
    return found


def _items(plan: WorkflowPlan, first: Generation) -> list[WorkflowItem]:
    """Return the images of the first call, each with the run that made it; none if no step follows."""
    kind = "array" if plan.call.output.latents else "image"
    outputs = [each for each in first.artifacts if each.kind == kind] if plan.steps else []
    runs = plan.call.runs
    per_run = max(len(outputs) // len(runs), 1)
    return [WorkflowItem(each.content, runs[min(i // per_run, len(runs) - 1)], each) for i, each in enumerate(outputs)]


def _encoded(
    plan: WorkflowPlan, first: Generation, items: Sequence[WorkflowItem], output: OutputFormat
) -> tuple[Artifact, ...]:
    """Return the artifacts of a workflow in the requested format, with complete metadata."""
    if not plan.steps:
        return first.artifacts
    artifacts = []
    for each in items:
        with Image.open(io.BytesIO(each.content)) as image:
            metadata = _metadata(plan, each.first.metadata, image.size)
            content, media_type = images.encode(image.convert("RGB"), output, metadata)
        artifacts.append(Artifact("image", media_type, content, each.first.seed, metadata, each.first.name))
    replaced = {id(each.first) for each in items}
    return (*artifacts, *(each for each in first.artifacts if id(each) not in replaced))


def _metadata(plan: WorkflowPlan, first: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return the metadata of an image: those of the first call, and the workflow."""
    metadata = {name: each for name, each in first.items() if name != "arrays"}
    # The size follows from the image and the padding, and the end of a call whose latents are continued from the refiner.
    derived = SIDES if plan.workflow.outpaint else (END,) if plan.workflow.refiner and plan.call.output.latents else ()
    if "params" in metadata:
        metadata["params"] = {name: each for name, each in metadata["params"].items() if name not in derived}
    return {
        **metadata,
        "workflow": {**metadata.get("workflow", {}), **plan.workflow.to_metadata()},
        "size": dict(zip(("width", "height"), size, strict=True)),
    }
