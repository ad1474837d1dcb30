"""Prepare and run single requests: resolve and check them, fetch their media, and run their calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from octabox.catalog.entries import PipelineEntry
from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call, Engine, Medium, Run
from octabox.media.decoding.decoders import Decoder
from octabox.media.fetcher import Fetcher
from octabox.security.clients import current_client, current_priority, in_background
from octabox.service.bounds import Limits
from octabox.service.conditions.lora import select_adapters
from octabox.service.hub.downloads import ModelDownloads
from octabox.service.inputs import decode_inputs, input_warnings
from octabox.service.planning import Plan, plan_request
from octabox.service.prompting import PromptWriter
from octabox.service.protocols import Models, RequestObserver
from octabox.service.provenance import input_digests
from octabox.service.selection.files import Files
from octabox.service.served_model import ServedModel
from octabox.types import Event, GenerationRequest, Progress


@dataclass(frozen=True)
class ResolvedRequest:
    """A request whose model and pipeline are known.

    Args:
        request: The request, with the parameters of its styles.
        models: The models by which it was resolved.
        model: Its model.
        plan: What is to be called.
        warnings: Parts of its styles that have no effect.
    """

    request: GenerationRequest
    models: Models
    model: ServedModel
    plan: Plan
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class PreparedRuns:
    """The runs of a resolved request, without its media.

    Args:
        runs: The runs, with their final prompts and LoRAs.
        syntax: The syntax of their prompts.
        warnings: Parts of the prompts that have no effect.
    """

    runs: tuple[Run, ...]
    syntax: str
    warnings: tuple[str, ...]


class RequestRunner:
    """Prepares and runs requests to one model each; all that is done for a request sees the same snapshot of the models.

    Args:
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
        engine: Engine,
        fetcher: Fetcher,
        limits: Limits,
        decoder: Decoder,
        writer: PromptWriter | None = None,
        observers: Sequence[RequestObserver] = (),
        downloads: ModelDownloads | None = None,
    ) -> None:
        self._engine, self._fetcher, self._downloads = engine, fetcher, downloads
        self._limits, self._decoder = limits, decoder
        self._writer, self.observers = writer or PromptWriter(), observers

    async def admit(self, request: GenerationRequest, models: Models) -> tuple[ModelConfig, ...]:
        """Return the models that a new request needs, if it may wait for them; it is not planned yet, nor are media fetched.

        Raises:
            NotFoundError: There is no such model.
            CapacityError: The queue of the model is full, or the server is being stopped.
        """
        config = models.config(request.model)
        self._engine.check_room(config.name, current_client.get())
        return (config,)

    async def download(self, configs: Iterable[ModelConfig]) -> AsyncGenerator[Progress, None]:
        """Download models if that is necessary, and yield the progress; closing the iterator cancels it."""
        if self._downloads is not None:
            for config in configs:
                async with aclosing(self._downloads.stream(config)) as progress:
                    async for each in progress:
                        yield each

    async def prepare(self, request: GenerationRequest, models: Models) -> Call:
        """Return the call of a request, without loading its model.

        Raises:
            NotFoundError: There is no such model, task, scheduler or LoRA.
            RequestError: A parameter or an input is invalid.
            SecurityError: The URL of an input is forbidden.
        """

        def prepare() -> tuple[ResolvedRequest, PreparedRuns]:
            resolved = self._resolve(request, models, models.resolve(request.model))
            return resolved, self._runs(resolved)

        # One thread does all that may read files, and as little as possible is left to the event loop.
        return await self._call(*await asyncio.to_thread(prepare))

    async def resolve(self, request: GenerationRequest, models: Models) -> ResolvedRequest:
        """Return the plan of a request, without reading its media.

        Raises:
            NotFoundError: There is no such model, task or scheduler.
            RequestError: A parameter is invalid, or the scheduler cannot work with the model.
        """
        return await asyncio.to_thread(lambda: self._resolve(request, models, models.resolve(request.model)))

    async def resolve_for(self, request: GenerationRequest, models: Models, model: ServedModel) -> ResolvedRequest:
        """Return the plan of a request to a model; it raises the errors of `resolve`."""
        return await asyncio.to_thread(self._resolve, request, models, model)

    async def call(self, resolved: ResolvedRequest) -> Call:
        """Return the call of a resolved request; it raises the errors of `prepare`."""
        return await self._call(resolved, await asyncio.to_thread(self._runs, resolved))

    async def media(self, files: Files, pipeline: PipelineEntry) -> dict[str, tuple[Medium, ...]]:
        """Return the decoded media of a request, by call parameter of its pipeline.

        Raises:
            RequestError: A file cannot be decoded.
            SecurityError: A URL is forbidden.
        """
        return await decode_inputs(files, pipeline, self._fetcher, self._decoder)

    def run(self, call: Call) -> AsyncGenerator[Event, None]:
        """Run a call that `prepare` has returned, and yield its progress and its result; closing the iterator cancels it."""
        if self._downloads is not None and self._downloads.has_adapters(call):
            return self._downloads.generate(call)
        return self._engine.generate(call)

    def _resolve(self, request: GenerationRequest, models: Models, model: ServedModel) -> ResolvedRequest:
        """Return the plan of a request to a model; this may read styles, and the files of the model."""
        unused: tuple[str, ...] = ()
        if request.styles:
            request, unused = self._writer.with_styles(request)
        plan = plan_request(request, model, models.catalog, self._limits)
        if plan.scheduler is not None:
            models.check_scheduler(model, plan.pipeline, plan.scheduler)
        return ResolvedRequest(request, models, model, plan, unused)

    def _runs(self, resolved: ResolvedRequest) -> PreparedRuns:
        """Return the runs of a request with their final prompts and LoRAs; this may read wildcards, and list LoRAs."""
        request, plan, model = resolved.request, resolved.plan, resolved.model.config
        syntax = self._writer.syntax_of(request, model.prompt_syntax)
        common = request.noise, request.seamless, request.latent_fill
        runs: list[Run] = []
        warnings: list[str] = []
        for index, (params, seed) in enumerate(plan.runs):
            written = self._writer.write(params, seed, syntax, request, plan.pipeline)
            # After the styles and wildcards, which may contain tags.
            final, adapters = select_adapters(written.params, request.adapters, model, resolved.models.adapters)
            variation = request.variation and replace(request.variation, seed=request.variation.seed + index)
            runs.append(Run(final, {}, seed, written.before, adapters, variation, *common))
            warnings += written.warnings
        return PreparedRuns(tuple(runs), syntax, tuple(warnings))

    async def _call(self, resolved: ResolvedRequest, prepared: PreparedRuns) -> Call:
        """Return the call of a resolved request, with its media."""
        request, model, plan = resolved.request, resolved.model, resolved.plan
        inputs = await self.media(plan.files, plan.pipeline) if plan.files else {}
        warnings = (*plan.warnings, *resolved.warnings, *prepared.warnings, *input_warnings(inputs))
        return Call(
            id=request.id,
            model=model.config,
            pipeline=model.pipeline.name,
            runs_as=plan.pipeline.name,
            task=plan.task,
            runs=tuple(replace(run, inputs=inputs) for run in prepared.runs) if inputs else prepared.runs,
            scheduler=plan.scheduler,
            output=request.output,
            partial_images=request.partial_images,
            prompt_syntax=prepared.syntax,
            input_digests=await asyncio.to_thread(input_digests, inputs) if inputs else {},
            client=current_client.get(),
            priority=current_priority.get(),
            background=in_background.get(),
            deterministic=request.deterministic,
            keep_alive=request.keep_alive,
            warnings=tuple(dict.fromkeys(warnings)),
        )
