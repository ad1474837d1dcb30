"""The one door to a generation: every frontend's request goes through here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from octabox.catalog.entries import PipelineEntry
from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call, Engine, Medium, Run
from octabox.media.fetcher import Fetcher
from octabox.media.limits import MediaLimits
from octabox.service.bounds import Limits
from octabox.service.conditions.lora import chosen_adapters
from octabox.service.events import observed, result_of
from octabox.service.inputs import decoded
from octabox.service.models import ModelService
from octabox.service.planning import Files, Plan, plan
from octabox.service.prompting import PromptWriter
from octabox.service.protocols import RequestObserver
from octabox.service.provenance import input_digests
from octabox.service.served_model import ServedModel
from octabox.types import Event, Generation, GenerationRequest


@dataclass(frozen=True)
class Resolved:
    """A request whose model and pipeline are known.

    Args:
        request: The request, with what its styles set beside its prompts.
        model: Its model.
        plan: What is to be called.
        warnings: What of its styles has no effect.
    """

    request: GenerationRequest
    model: ServedModel
    plan: Plan
    warnings: tuple[str, ...]


class GenerationService:
    """Resolves, checks, fetches and runs requests.

    Args:
        models: Where models are looked up.
        engine: Where calls run.
        fetcher: Fetches media that requests refer to.
        limits: How much one request may ask for.
        media_limits: How large its images may be.
        writer: Writes out styles and wildcards.
        observers: Are notified of each request that has ended.
    """

    def __init__(
        self,
        models: ModelService,
        engine: Engine,
        fetcher: Fetcher,
        limits: Limits,
        media_limits: MediaLimits,
        writer: PromptWriter | None = None,
        observers: Sequence[RequestObserver] = (),
    ) -> None:
        self._models, self._engine, self._fetcher = models, engine, fetcher
        self._limits, self._media_limits = limits, media_limits
        self._writer, self.observers = writer or PromptWriter(), observers

    async def prepare(self, request: GenerationRequest) -> Call:
        """Return the call that a request means; nothing is loaded for that.

        Raises:
            NotFoundError: The model, the task, the scheduler or a LoRA is not there.
            RequestError: A parameter or an image is wrong.
            SecurityError: An image's URL leads where it must not.
        """
        return await self.call(await self.resolve(request))

    async def call(self, resolved: Resolved) -> Call:
        """Return the call that a request means once it is resolved; `prepare` tells what may be wrong with it."""
        request, model, planned = resolved.request, resolved.model, resolved.plan
        syntax = self._writer.syntax_of(request, model.config.prompt_syntax)
        runs, warnings = await asyncio.to_thread(self._runs, planned, request, model.config, syntax)
        inputs = await self.media(planned.files, planned.pipeline)
        return Call(
            id=request.id,
            model=model.config,
            pipeline=model.own.name,
            runs_as=planned.pipeline.name,
            task=planned.task,
            runs=tuple(replace(run, inputs=inputs) for run in runs),
            scheduler=planned.scheduler,
            output=request.output,
            partial_images=request.partial_images,
            prompt_syntax=syntax,
            brought=await asyncio.to_thread(input_digests, inputs) if inputs else {},
            warnings=tuple(dict.fromkeys([*planned.warnings, *resolved.warnings, *warnings])),
        )

    async def resolve(self, request: GenerationRequest) -> Resolved:
        """Return what is to be called for a request; its media are not looked at yet.

        Raises:
            NotFoundError: The model, the task or the scheduler is not there.
            RequestError: A parameter is wrong.
        """
        model = await self._models.served(request.model)
        unused: tuple[str, ...] = ()
        if request.styles:
            request, unused = await asyncio.to_thread(self._writer.with_styles, request)
        return Resolved(request, model, plan(request, model, self._models.catalog, self._limits), unused)

    async def media(self, files: Files, pipeline: PipelineEntry) -> dict[str, tuple[Medium, ...]]:
        """Return files as media, by call parameter of the pipeline that they are for.

        Raises:
            RequestError: One cannot be read.
            SecurityError: A URL leads where it must not.
        """
        return await decoded(files, pipeline, self._fetcher, self._media_limits)

    def _runs(
        self, planned: Plan, request: GenerationRequest, model: ModelConfig, syntax: str
    ) -> tuple[list[Run], list[str]]:
        """Return the runs of a plan, each with its prompts written out and with its LoRAs, and what has no effect."""
        runs: list[Run] = []
        warnings: list[str] = []
        for index, (params, seed) in enumerate(planned.runs):
            written = self._writer.write(params, seed, syntax, request, planned.pipeline)
            # Last, since tags may come of a style or a wildcard.
            plain, adapters = chosen_adapters(written.params, request.adapters, model, self._models.adapters)
            other = request.variation and replace(request.variation, seed=request.variation.seed + index)
            runs.append(Run(plain, seed=seed, written=written.before, adapters=adapters, variation=other))
            warnings += written.warnings
        return runs, warnings

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Run a request and yield its progress, then its result; closing the iterator cancels it."""
        with observed(request, self.observers) as results:
            async with aclosing(self.run(await self.prepare(request))) as events:
                async for event in events:
                    if isinstance(event, Generation):
                        results.append(event)
                    yield event

    def run(self, call: Call) -> AsyncGenerator[Event, None]:
        """Run a call that `prepare` has returned, and yield as `stream` does."""
        return self._engine.generate(call)

    async def generate(self, request: GenerationRequest) -> Generation:
        """Run a request and return its result; cancelling the task cancels it."""
        return await result_of(self.stream(request))
