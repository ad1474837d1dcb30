"""Run workflows: a chain of ordinary requests through the one door, with what is done to their images in between."""

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
from octabox.errors import GenerationError, QueueFullError
from octabox.media import images
from octabox.service.generation import GenerationService
from octabox.service.workflows.planner import Step, WorkflowItem, WorkflowPlan, WorkflowPlanner
from octabox.types import Artifact, Event, Generation, GenerationRequest, OutputFormat, Progress

#: Seconds between two tries to get into a queue that is full.
RETRY_DELAY = 0.2


class WorkflowService:
    """The one door, with workflows: requests without one pass through as they are.

    Args:
        inner: Runs single requests.
        chains: Makes chains of those with a workflow.
    """

    def __init__(self, inner: GenerationService, chains: WorkflowPlanner) -> None:
        self._inner, self._chains = inner, chains

    async def prepare(self, request: GenerationRequest) -> Call:
        """Return the call that a request means; of a workflow all is checked, and its first call returned.

        Raises:
            OctaboxError: Something about it is wrong.
        """
        return (await self._chains.chain(request)).call if request.workflow else await self._inner.prepare(request)

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Run a request and yield its progress, then its result; closing the iterator cancels it."""
        events = self._chained(request) if request.workflow else self._inner.stream(request)
        async with aclosing(events):
            async for event in events:
                yield event

    async def generate(self, request: GenerationRequest) -> Generation:
        """Run a request and return its result; cancelling the task cancels it."""
        async with aclosing(self.stream(request)) as events:
            async for event in events:
                if isinstance(event, Generation):
                    return event
        raise GenerationError("The engine ended a request without a result.", model=request.model)

    async def _chained(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Run a request that has a workflow."""
        chain = await self._chains.chain(request)
        told = ProgressAggregator(parts=1 + sum(step.ask is not None for step in chain.steps))
        async with aclosing(told.follow(self._inner.run(chain.call))) as events:
            async for event in events:
                yield event
        first = told.last
        drawn = _drawn(chain, first)
        for step in chain.steps:
            told.part += step.ask is not None
            made: list[WorkflowItem] = []
            for index, each in enumerate(drawn):
                async with aclosing(self._step(step, each, told, index, len(drawn))) as done:
                    async for told_or_drawn in done:
                        if isinstance(told_or_drawn, WorkflowItem):
                            made.append(told_or_drawn)
                        else:
                            yield told_or_drawn
            drawn = made
        yield Progress("encoding", part=told.parts, parts=told.parts)
        with told.timed("encode"):
            artifacts = await asyncio.to_thread(_encoded, chain, first, drawn, request.output)
        warnings = tuple(dict.fromkeys([*chain.warnings, *told.warnings]))
        yield replace(first, id=request.id, artifacts=artifacts, warnings=warnings, timings=told.timings)

    async def _run_with_retry(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Run a request; while too many wait, wait too: what was made so far is not to be lost."""
        while True:
            try:
                async with aclosing(self._inner.stream(request)) as events:
                    async for event in events:
                        yield event
            except QueueFullError:
                await asyncio.sleep(RETRY_DELAY)
            else:
                return

    async def _step(
        self, step: Step, drawn: WorkflowItem, told: ProgressAggregator, index: int, count: int
    ) -> AsyncGenerator[Progress | WorkflowItem, None]:
        """Do one step to one image; yield how far it is, then what came of it."""
        content = drawn.content
        if step.ask is not None:
            events = told.follow(self._run_with_retry(step.ask(drawn)), index, count)
            async with aclosing(events):
                async for event in events:
                    yield event
            content = _image(told.last).content
        if step.then is not None:
            content = await asyncio.to_thread(step.then, content, drawn.content)
        yield replace(drawn, content=content)


@dataclass
class ProgressAggregator:
    """What the requests of a workflow have told so far.

    Args:
        parts: How many parts it has.
        part: The one that runs, from 1.
        warnings: What they warned of.
        timings: Seconds by phase, over all.
    """

    parts: int
    part: int = 1
    warnings: list[str] = field(default_factory=list)
    timings: Mapping[str, float] = field(default_factory=dict)
    _last: Generation | None = None

    @property
    def last(self) -> Generation:
        """The latest result."""
        if self._last is None:
            raise GenerationError("The engine ended a request without a result.")
        return self._last

    async def follow(
        self, events: AsyncGenerator[Event, None], index: int = 0, count: int = 1
    ) -> AsyncGenerator[Progress, None]:
        """Yield the progress of one request as that of the part it belongs to, and note its result.

        Args:
            events: What the request tells.
            index: Which image of the part it is about.
            count: How many images the part is about.
        """
        self._last = None
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Generation):
                    self._note(event)
                    continue
                step, steps = index * event.steps + event.step, count * event.steps
                output = event.output if count == 1 else index
                yield replace(event, step=step, steps=steps, output=output, part=self.part, parts=self.parts)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time of what is done inside to a phase."""
        began = time.perf_counter()
        yield
        self.timings = {**self.timings, phase: self.timings.get(phase, 0.0) + time.perf_counter() - began}

    def _note(self, generation: Generation) -> None:
        self._last = generation
        self.warnings += generation.warnings
        self.timings = dict(Counter(self.timings) + Counter(generation.timings))


def _image(generation: Generation) -> Artifact:
    """Return the first image of a result."""
    found = next((each for each in generation.artifacts if each.kind == "image"), None)
    if found is None:
        raise GenerationError(f"{generation.pipeline} made no image.", model=generation.model)
    return found


def _drawn(chain: WorkflowPlan, first: Generation) -> list[WorkflowItem]:
    """Return the images of the first call, each with the run that made it; all alike where there is nothing to be done."""
    kind = "array" if chain.call.output.latents else "image"
    made = [each for each in first.artifacts if each.kind == kind] if chain.steps else []
    runs = chain.call.runs
    each_run = max(len(made) // len(runs), 1)
    return [WorkflowItem(each.content, runs[min(i // each_run, len(runs) - 1)], each) for i, each in enumerate(made)]


def _encoded(
    chain: WorkflowPlan, first: Generation, drawn: Sequence[WorkflowItem], output: OutputFormat
) -> tuple[Artifact, ...]:
    """Return what a workflow made, written as it was asked for, with all that it was made from."""
    if not chain.steps:
        return first.artifacts
    made = []
    for each in drawn:
        with Image.open(io.BytesIO(each.content)) as image:
            metadata = _facts(chain, each.first.metadata, image.size)
            content, media_type = images.encode(image.convert("RGB"), output, metadata)
        made.append(Artifact("image", media_type, content, each.first.seed, metadata, each.first.name))
    done = {id(each.first) for each in drawn}
    return (*made, *(each for each in first.artifacts if id(each) not in done))


def _facts(chain: WorkflowPlan, first: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Return what an image was made from: what the first call says of it, and the workflow."""
    told = {name: each for name, each in first.items() if name != "arrays"}
    if chain.workflow.outpaint:
        # They follow from the image and from how far it is widened.
        told["params"] = {name: each for name, each in first["params"].items() if name not in ("width", "height")}
    return {**told, "workflow": chain.workflow.told(), "size": dict(zip(("width", "height"), size, strict=True))}
