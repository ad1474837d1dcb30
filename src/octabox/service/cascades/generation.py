"""Plan and run the requests to cascades: all stages are checked before the first one runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call, Run
from octabox.errors import InvalidParameterError, TaskNotFoundError
from octabox.schedulers.names import parse_scheduler_choice
from octabox.security.clients import current_client
from octabox.service.cascades.calls import (
    CascadeCall,
    Pool,
    StageCall,
    add_outputs,
    cascade_call,
    naming_stage,
    stage_call,
)
from octabox.service.cascades.links import FORMATS, StageLink, combine
from octabox.service.cascades.stages import Cascade
from octabox.service.generation import RequestRunner, ResolvedRequest
from octabox.service.outputs import OUTPUT_TYPE
from octabox.service.protocols import Models
from octabox.service.served_model import ServedModel
from octabox.service.workflows.execution import ProgressAggregator
from octabox.service.workflows.parts import StagePart
from octabox.service.workflows.settings import parse_workflow
from octabox.types import Artifact, Event, Generation, GenerationRequest, OutputFormat, Source

#: A file in place of the output of an earlier stage, which is not made yet when a request is checked.
PLACEHOLDER: tuple[Source, ...] = (b"",)


@dataclass(frozen=True)
class ResolvedCascade(ResolvedRequest):
    """A request to a cascade; its own fields are those of the first stage, with the outputs of the last.

    Args:
        cascade: The cascade.
        first: The request to the first stage.
        links: What the other stages take.
        parts: The settings of the request for each stage.
        original: The request to the cascade.
    """

    cascade: Cascade
    first: ResolvedRequest
    links: tuple[StageLink, ...]
    parts: tuple[StagePart, ...]
    original: GenerationRequest


@runtime_checkable
class CascadeModels(Protocol):
    """Models among which are cascades."""

    def cascade(self, name: str) -> Cascade | None:
        """Return a cascade by name or alias; None for any other model."""
        ...


class CascadeRunner(RequestRunner):
    """Prepares and runs requests; those to a cascade run stage by stage."""

    async def admit(self, request: GenerationRequest, models: Models) -> tuple[ModelConfig, ...]:
        """Return the models that a new request needs, if it may wait for them; of a cascade, for that of its first stage."""
        cascade = await _cascade(request, models)
        if cascade is None:
            return await super().admit(request, models)
        configs = tuple(stage.model.config for stage in cascade.stages)
        self._engine.check_room(configs[0].name, current_client.get())
        return configs

    async def prepare(self, request: GenerationRequest, models: Models) -> Call:
        """Return the call of a request, without loading its model, or those of a cascade."""
        if models.config(request.model).stages:
            return await self.call(await self.resolve(request, models))
        _refuse_stages(request)
        return await super().prepare(request, models)

    async def resolve(self, request: GenerationRequest, models: Models) -> ResolvedRequest:
        """Return the plan of a request; of a request to a cascade, that of its first stage."""
        cascade = await _cascade(request, models)
        if cascade is None:
            _refuse_stages(request)
            return await super().resolve(request, models)
        parts = _parts(request, cascade)
        with naming_stage(cascade.config.name, 1, parts[0]):
            resolved, links = await self._first_stage(request, models, cascade, parts[0])
        entry = combine(resolved.plan.pipeline, links[-1].entry)
        plan = replace(resolved.plan, pipeline=entry, task=_task(request, entry))
        first = replace(resolved.request, model=cascade.config.name)
        common = (first, models, resolved.model, plan, resolved.warnings)
        return ResolvedCascade(*common, cascade, resolved, links, parts, request)

    async def _first_stage(
        self, request: GenerationRequest, models: Models, cascade: Cascade, part: StagePart
    ) -> tuple[ResolvedRequest, tuple[StageLink, ...]]:
        """Return the resolved request to the first stage, and what the others take."""
        stage, catalog = cascade.stages[0], models.catalog
        defaults = cascade.config.defaults
        own = {
            name: each
            for name, each in stage.config.params.items()
            if name not in {*defaults, *request.optional_params}
        }
        first = replace(
            request,
            model=stage.model.config.name,
            task=stage.config.task or await asyncio.to_thread(_first_task, request, cascade, catalog),
            params={**own, **request.params, **part.params},
            optional_params={**defaults, **request.optional_params},
            workflow={},
            scheduler=parse_scheduler_choice(part.scheduler) or request.scheduler,
            seed=cascade.config.seed if request.seed is None else request.seed,
            partial_images=0,
        )
        # The files decide which class runs the first stage, and so what the next one takes, and which defaults apply.
        plan = (await self.resolve_for(replace(first, output=OutputFormat()), models, stage.model)).plan
        links = await asyncio.to_thread(cascade.links, catalog, plan.pipeline, plan.files)
        applied = {name: each for name, each in defaults.items() if plan.pipeline.parameter(name) is not None}
        first = replace(first, output=FORMATS[links[0].form], optional_params={**applied, **request.optional_params})
        return await self.resolve_for(first, models, stage.model), links

    async def call(self, resolved: ResolvedRequest) -> Call:
        """Return the call of a resolved request; of one to a cascade, with the calls of all stages."""
        if not isinstance(resolved, ResolvedCascade):
            return await super().call(resolved)
        name, stages = resolved.cascade.config.name, resolved.cascade.stages
        with naming_stage(name, 1, resolved.parts[0]):
            first = await super().call(resolved.first)
        calls = [StageCall(_returning(first, resolved.links[0]))]
        for index, link in enumerate(resolved.links, 1):
            with naming_stage(name, index + 1, resolved.parts[index]):
                planned = [await self._stage_call(resolved, index, first, run) for run in first.runs]
                runs = tuple(each.runs[0] for each in planned)
                call = replace(planned[0], pipeline=stages[index].model.pipeline.name, runs=runs)
            following = resolved.links[index] if index < len(resolved.links) else None
            calls.append(StageCall(_returning(call, following) if following else call, link))
        return cascade_call(replace(first, task=resolved.plan.task), name, calls, resolved.parts)

    async def _stage_call(self, resolved: ResolvedCascade, index: int, first: Call, run: Run) -> Call:
        """Return the call of a stage after the first, for one run of the first, without the outputs of earlier stages."""
        stage, part, request = resolved.cascade.stages[index], resolved.parts[index], resolved.original
        link, last = resolved.links[index - 1], index == len(resolved.links)
        own = {**stage.config.params, **part.params}
        prompts = {name: each for name, each in run.params.items() if link.takes_prompt(name) and name not in own}
        files = {name: request.inputs.get(source, ()) for name, source in link.files.items()}
        inputs = {name: each for name, each in files.items() if each} | dict.fromkeys(link.names, PLACEHOLDER)
        texts = {name: request.params[source] for name, source in link.files.items() if source in request.params}
        followup = GenerationRequest(
            model=stage.model.config.name,
            task=stage.config.task,
            params={**prompts, **texts, **own},
            inputs=inputs,
            seed=run.seed,
            scheduler=parse_scheduler_choice(part.scheduler),
            output=request.output if last else FORMATS[resolved.links[index].form],
            partial_images=request.partial_images if last else 0,
            prompt_syntax=first.prompt_syntax,
            seamless=request.seamless,
            deterministic=request.deterministic,
            keep_alive=request.keep_alive,
        )
        model = ServedModel(stage.model.config, link.entry, alone=True)
        planned = await self.resolve_for(followup, resolved.models, model)
        media = {name: each for name, each in planned.plan.files.items() if name not in link.names}
        return await super().call(replace(planned, plan=replace(planned.plan, files=media)))

    def run(self, call: Call) -> AsyncGenerator[Event, None]:
        """Run a call that `prepare` has returned, and yield as `stream` does."""
        return self._run_stages(call) if isinstance(call, CascadeCall) else super().run(call)

    async def _run_stages(self, call: CascadeCall) -> AsyncGenerator[Event, None]:
        """Run the stages of a cascade one after another, and yield one progress and one result."""
        pools = [Pool() for _ in call.runs]
        progress = ProgressAggregator(parts=len(call.stages))
        for index in range(len(call.stages)):
            progress.part = index + 1
            with naming_stage(call.cascade, index + 1):
                staged = await asyncio.to_thread(stage_call, call, index, pools)
                async with aclosing(super().run(staged)) as events:
                    async for event in events:
                        if (own := progress.add(event)) is not None:
                            yield own
                if index + 1 < len(call.stages):
                    await asyncio.to_thread(add_outputs, pools, progress.result)
        result = replace(progress.result, model=call.cascade, task=call.task)
        yield progress.total(call.id, result, _with_seconds(progress.result), ())


async def _cascade(request: GenerationRequest, models: Models) -> Cascade | None:
    """Return the cascade that a request is for; None for any other model, for which nothing is read."""
    if not models.config(request.model).stages or not isinstance(models, CascadeModels):
        return None
    return await asyncio.to_thread(models.cascade, request.model)


def _with_seconds(result: Generation) -> tuple[Artifact, ...]:
    """Return the artifacts of a cascade with the seconds of its last stage, which its files cannot have yet."""
    seconds = round(result.timings.get("run", 0.0), 3)
    artifacts = []
    for each in result.artifacts:
        stages = each.metadata.get("stages")
        metadata = {**each.metadata, "stages": [*stages[:-1], {**stages[-1], "seconds": seconds}]} if stages else None
        artifacts.append(replace(each, metadata=metadata) if metadata else each)
    return tuple(artifacts)


def _refuse_stages(request: GenerationRequest) -> None:
    """Refuse settings of stages for a model that is not a cascade."""
    if request.workflow.get("stages"):
        raise InvalidParameterError(
            f"'{request.model}' has no stages.", hint="Omit 'workflow.stages'.", parameter="workflow.stages"
        )


def _parts(request: GenerationRequest, cascade: Cascade) -> tuple[StagePart, ...]:
    """Return the settings of a request for each stage of its cascade."""
    parts = parse_workflow({"stages": request.workflow["stages"]}).stages if request.workflow.get("stages") else ()
    if len(parts) > len(cascade.stages):
        raise InvalidParameterError(
            f"'{cascade.config.name}' has {len(cascade.stages)} stages, not {len(parts)}.", parameter="workflow.stages"
        )
    padded = [*parts, *([None] * (len(cascade.stages) - len(parts)))]
    return tuple(each or StagePart(scheduler=None) for each in padded)


def _returning(call: Call, link: StageLink) -> Call:
    """Return the call of a stage with the form of its images that the next one takes."""
    if link.form != "pt":
        return call
    return replace(call, runs=tuple(replace(run, params={**run.params, OUTPUT_TYPE: "pt"}) for run in call.runs))


def _first_task(request: GenerationRequest, cascade: Cascade, catalog: Catalog) -> str | None:
    """Return the task of the first stage; None if its files decide it, since it is not that of the cascade.

    Raises:
        TaskNotFoundError: The cascade does not serve the task of the request.
    """
    if request.task is None:
        return None
    tag = catalog.task(request.task)
    if tag in cascade.stages[0].model.tasks(catalog):
        return tag
    if tag in (tasks := cascade.served(catalog).tasks(catalog)):
        return None
    raise TaskNotFoundError(
        f"'{cascade.config.name}' cannot do {tag}.", hint=f"It can do: {', '.join(tasks)}.", choices=tasks
    )


def _task(request: GenerationRequest, entry: PipelineEntry) -> str:
    """Return the task of a cascade."""
    return request.task if request.task in entry.tasks else next(iter(entry.tasks), "")
