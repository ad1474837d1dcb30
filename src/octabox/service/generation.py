"""Run generation requests: resolve and check them, fetch their media, and run their calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from octabox.catalog.entries import PipelineEntry
from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call, Engine, Medium, Run
from octabox.media.decoding.decoders import Decoder
from octabox.media.fetcher import Fetcher
from octabox.security.clients import current_client, current_priority
from octabox.service.bounds import Limits
from octabox.service.conditions.lora import select_adapters
from octabox.service.events import observed, result_of
from octabox.service.hub.downloads import ModelDownloads
from octabox.service.inputs import decode_inputs, input_warnings
from octabox.service.models import ModelService
from octabox.service.planning import Plan, plan_request
from octabox.service.prompting import PromptWriter
from octabox.service.protocols import RequestObserver
from octabox.service.provenance import input_digests
from octabox.service.selection.files import Files
from octabox.service.served_model import ServedModel
from octabox.types import Event, Generation, GenerationRequest, Progress


@dataclass(frozen=True)
class ResolvedRequest:
    """A request whose model and pipeline are known.

    Args:
        request: The request, with the parameters of its styles.
        model: Its model.
        plan: What is to be called.
        warnings: Parts of its styles that have no effect.
    """

    request: GenerationRequest
    model: ServedModel
    plan: Plan
    warnings: tuple[str, ...]


class GenerationService:
    """Resolves, checks, fetches and runs requests.

    Args:
        models: The models of this server.
        engine: Runs the calls.
        fetcher: Fetches media that requests refer to.
        limits: Maximum outputs, sizes and steps of a request.
        decoder: Decodes its media.
        writer: Expands styles and wildcards.
        observers: Count requests that have ended.
        downloads: Downloads models before they are loaded; without it, loading does.
    """

    def __init__(
        self,
        models: ModelService,
        engine: Engine,
        fetcher: Fetcher,
        limits: Limits,
        decoder: Decoder,
        writer: PromptWriter | None = None,
        observers: Sequence[RequestObserver] = (),
        downloads: ModelDownloads | None = None,
    ) -> None:
        self._downloads = downloads
        self._models, self._engine, self._fetcher = models, engine, fetcher
        self._limits, self._decoder = limits, decoder
        self._writer, self.observers = writer or PromptWriter(), observers

    async def admit(self, request: GenerationRequest) -> None:
        """Check that a new request may wait for its model, before it is planned and its media are fetched.

        Raises:
            NotFoundError: There is no such model.
            CapacityError: The queue of the model is full, or the server is being stopped.
        """
        model = await asyncio.to_thread(self._models.config, request.model)
        self._engine.check_room(model.name, current_client.get())

    async def prepare(self, request: GenerationRequest) -> Call:
        """Return the call of a request, without loading its model.

        Raises:
            NotFoundError: There is no such model, task, scheduler or LoRA.
            RequestError: A parameter or an input is invalid.
            SecurityError: The URL of an input is forbidden.
        """
        return await self.call(await self.resolve(request))

    async def call(self, resolved: ResolvedRequest) -> Call:
        """Return the call of a resolved request; it raises the errors of `prepare`."""
        request, model, plan = resolved.request, resolved.model, resolved.plan
        syntax = self._writer.syntax_of(request, model.config.prompt_syntax)
        runs, warnings = await asyncio.to_thread(self._runs, plan, request, model.config, syntax)
        inputs = await self.media(plan.files, plan.pipeline) if plan.files else {}
        return Call(
            id=request.id,
            model=model.config,
            pipeline=model.pipeline.name,
            runs_as=plan.pipeline.name,
            task=plan.task,
            runs=tuple(replace(run, inputs=inputs) for run in runs),
            scheduler=plan.scheduler,
            output=request.output,
            partial_images=request.partial_images,
            prompt_syntax=syntax,
            input_digests=await asyncio.to_thread(input_digests, inputs) if inputs else {},
            client=current_client.get(),
            priority=current_priority.get(),
            deterministic=request.deterministic,
            keep_alive=request.keep_alive,
            warnings=tuple(dict.fromkeys([*plan.warnings, *resolved.warnings, *warnings, *input_warnings(inputs)])),
        )

    async def resolve(self, request: GenerationRequest) -> ResolvedRequest:
        """Return the plan of a request, without reading its media.

        Raises:
            NotFoundError: There is no such model, task or scheduler.
            RequestError: A parameter is invalid, or the scheduler cannot work with the model.
        """
        return await self.resolve_for(request, await self._models.served(request.model))

    async def resolve_for(self, request: GenerationRequest, model: ServedModel) -> ResolvedRequest:
        """Return the plan of a request to a model; it raises the errors of `resolve`."""
        unused: tuple[str, ...] = ()
        if request.styles:
            request, unused = await asyncio.to_thread(self._writer.with_styles, request)
        plan = plan_request(request, model, self._models.catalog, self._limits)
        if plan.scheduler is not None:
            await asyncio.to_thread(self._models.check_scheduler, model, plan.pipeline, plan.scheduler)
        return ResolvedRequest(request, model, plan, unused)

    async def media(self, files: Files, pipeline: PipelineEntry) -> dict[str, tuple[Medium, ...]]:
        """Return the decoded media of a request, by call parameter of its pipeline.

        Raises:
            RequestError: A file cannot be decoded.
            SecurityError: A URL is forbidden.
        """
        return await decode_inputs(files, pipeline, self._fetcher, self._decoder)

    def _runs(
        self, plan: Plan, request: GenerationRequest, model: ModelConfig, syntax: str
    ) -> tuple[list[Run], list[str]]:
        """Return the runs of a plan with their final prompts and LoRAs, and the warnings."""
        runs: list[Run] = []
        warnings: list[str] = []
        for index, (params, seed) in enumerate(plan.runs):
            written = self._writer.write(params, seed, syntax, request, plan.pipeline)
            # After the styles and wildcards, which may contain tags.
            final, adapters = select_adapters(written.params, request.adapters, model, self._models.adapters)
            variation = request.variation and replace(request.variation, seed=request.variation.seed + index)
            run = Run(final, seed=seed, written=written.before, adapters=adapters, variation=variation)
            run = replace(run, noise=request.noise, seamless=request.seamless, latent_fill=request.latent_fill)
            runs.append(run)
            warnings += written.warnings
        return runs, warnings

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Run a request and yield its progress, then its result; closing the iterator cancels it."""
        with observed(request, self.observers) as results:
            await self.admit(request)
            async with aclosing(self.download(request)) as progress:
                async for each in progress:
                    yield each
            async with aclosing(self.run(await self.prepare(request))) as events:
                async for event in events:
                    if isinstance(event, Generation):
                        results.append(event)
                    yield event

    async def download(self, request: GenerationRequest) -> AsyncGenerator[Progress, None]:
        """Download the model of a request if that is necessary, and yield the progress; closing the iterator cancels it."""
        if self._downloads is not None:
            config = await asyncio.to_thread(self._models.config, request.model)
            async with aclosing(self._downloads.stream(config)) as progress:
                async for each in progress:
                    yield each

    def run(self, call: Call) -> AsyncGenerator[Event, None]:
        """Run a call that `prepare` has returned, and yield as `stream` does."""
        return self._engine.generate(call) if self._downloads is None else self._downloads.generate(call)

    async def generate(self, request: GenerationRequest) -> Generation:
        """Run a request and return its result; cancelling the task cancels it."""
        return await result_of(self.stream(request))
