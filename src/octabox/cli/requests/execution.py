"""Run the options of `octabox run`: in its own process, or in a server in the background."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from octabox.catalog.pipelines import load_catalog
from octabox.cli.requests import parameters, workflows
from octabox.cli.requests.events import Checked, DownloadProgress, Message, Prepared, RunEvent
from octabox.cli.requests.options import (
    apply_profile,
    check_count,
    check_inputs,
    find_changed_inputs,
    parse_metadata,
    require_model,
)
from octabox.cli.requests.pull_plans import summarize_plan
from octabox.cli.requests.run_options import RunOptions
from octabox.config.model import ModelConfig
from octabox.config.settings import Settings
from octabox.engine.protocol import Call
from octabox.engine.sources.requests import adapter_requests, plan_downloads, plan_request
from octabox.errors import InvalidParameterError
from octabox.frontends.naming.renaming import rename_error_params
from octabox.hub.pulls.plan import PullPlan
from octabox.hub.pulls.pull import PullProgress, pull
from octabox.server import Parts, build
from octabox.service.metadata import skipped_layers
from octabox.service.models.snapshot import sources_of
from octabox.service.planning import parse_seed
from octabox.types import AdapterChoice, GenerationRequest, OutputFormat

#: Returns the parts of a server for settings and a model.
OpenParts = Callable[[Settings, str], Parts]

#: Starts the engine, which may load a model soon.
StartEngine = Callable[[Parts, ModelConfig], Awaitable[None]]


async def run_here(options: RunOptions, settings: Settings) -> AsyncGenerator[RunEvent, None]:
    """Run options in this process, and yield the events."""
    opened: list[Parts] = []

    def open_parts(settings: Settings, model: str) -> Parts:
        opened.append(build(settings, model=model))
        return opened[0]

    async def start_engine(parts: Parts, config: ModelConfig) -> None:
        await parts.engine.start([config])

    try:
        async with contextlib.aclosing(execute(options, settings, open_parts, start_engine)) as events:
            async for event in events:
                yield event
    finally:
        for parts in opened:
            await parts.close()


async def execute(
    options: RunOptions, settings: Settings, open_parts: OpenParts, start_engine: StartEngine
) -> AsyncGenerator[RunEvent, None]:
    """Run options and yield the events; closing the iterator cancels the request.

    Args:
        options: The options.
        settings: The settings.
        open_parts: Returns the parts of a server.
        start_engine: Starts their engine.

    Raises:
        OctaboxError: The request is invalid or has failed.
    """
    for warning in settings.warnings:
        yield Message(warning, is_warning=True)
    metadata = {} if options.source is None else parse_metadata(options.source, options.source_name)
    model = require_model(metadata, options.model)
    check_count(options.num_outputs, settings.max_outputs)
    # Reading the models folder and a model's files takes time, in which a server serves other clients.
    parts = await asyncio.to_thread(open_parts, _scale_limit(settings, len(options.prompts)), model)
    plans: list[PullPlan] = []
    if not options.dry_run:
        sources = sources_of(parts.models.snapshot(), parts.name)
        plans = await asyncio.to_thread(lambda: [plan for each in sources for plan in plan_downloads(each)])
    # The index of a model is enough to check a request, so that an invalid one downloads nothing else.
    request, names = await asyncio.to_thread(_build_request, parts, options, metadata)
    check_inputs(metadata, request.inputs.keys() | request.params.keys())
    with parameters.hinting_files(options.params), rename_error_params(names):
        call = await parts.generation.prepare(request)
    for warning in _find_differences(metadata, call, parts):
        yield Message(f"Warning: {warning}", is_warning=True)
    if options.dry_run:
        workflow = {"workflow": request.workflow} if request.workflow else {}
        yield Prepared(len(call.runs), names, _describe_call(call) | workflow)
        return
    found = await asyncio.to_thread(lambda: [*map(plan_request, adapter_requests(run.adapters for run in call.runs))])
    plans += [each for each in found if each is not None]
    if plans:
        yield Checked(len(call.runs))
    async with contextlib.aclosing(_download(plans)) as downloading:
        async for event in downloading:
            yield event
    yield Prepared(len(call.runs), names)
    await start_engine(parts, parts.models.snapshot().config(parts.name))
    async with contextlib.aclosing(parts.generation.stream_each(request)) as events:
        with rename_error_params(names):
            async for event in events:
                yield event


def _find_differences(metadata: dict[str, Any], call: Call, parts: Parts) -> Iterator[str]:
    """Yield a warning for each part of the file to reproduce that a call does not have."""
    yield from find_changed_inputs(metadata, call)
    if (metadata.get("workflow") or {}).get("stages") and not parts.models.snapshot().config(parts.name).stages:
        yield f"the settings of stages in the file have no effect: '{parts.name}' is not a cascade."


def _scale_limit(settings: Settings, prompts: int) -> Settings:
    """Return settings whose limit of outputs is for each prompt, since the prompts are written one by one."""
    return settings.model_copy(update={"max_outputs": settings.max_outputs * max(1, prompts)})


async def _download(plans: Sequence[PullPlan]) -> AsyncGenerator[RunEvent, None]:
    """Carry out plans, and yield each with its progress."""
    for plan in plans:
        for line in summarize_plan(plan):
            yield Message(line)
    for plan in plans:
        async with contextlib.aclosing(_pull(plan)) as progress:
            async for each in progress:
                note = f"{each.files_done} of {each.files} files"
                yield DownloadProgress(plan.request.repo, each.done, each.total, note)


async def _pull(plan: PullPlan) -> AsyncGenerator[PullProgress, None]:
    """Carry out a plan and yield its progress; closing the iterator cancels it."""
    queue: asyncio.Queue[PullProgress | None] = asyncio.Queue()
    task = asyncio.create_task(pull(plan, queue.put_nowait))
    task.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (progress := await queue.get()) is not None:
            yield progress
        task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _build_request(
    parts: Parts, options: RunOptions, metadata: dict[str, Any]
) -> tuple[GenerationRequest, dict[str, str]]:
    """Return the request of the options, merged over that of the metadata, and the names of parameters that differ."""
    apply_profile(parts.models, parts.name, metadata, options.profile)
    task = options.task or metadata.get("task")
    takes_stages = bool(parts.models.snapshot().config(parts.name).stages)
    workflow = workflows.add_models(_workflow(metadata, options.workflow, takes_stages=takes_stages), parts.models)
    schema = parts.models.snapshot().schema(parts.name, task)
    params, names = parameters.parse_parameters(options.params, schema["properties"])
    params = skipped_layers(metadata, load_catalog().pipeline(schema["x-pipeline"])) | params
    merged = {**metadata.get("params", {}), **params}
    if options.prompts and "prompt" in params:
        hint = "Write it as an argument, or as -p prompt=TEXT."
        raise InvalidParameterError("'prompt' is given twice.", hint=hint, parameter="prompt")
    if options.prompts:
        merged["prompt"] = options.prompts[0] if len(options.prompts) == 1 else list(options.prompts)
    written = {
        name: text
        for name, text in metadata.get("written", {}).items()
        if merged.get(name) == metadata["params"].get(name)
    }
    request = GenerationRequest(
        model=parts.name,
        task=task,
        params=merged,
        inputs=options.inputs,
        seed=metadata.get("seed") if options.seed is None else parse_seed(options.seed),
        num_outputs=options.num_outputs,
        scheduler=parameters.parse_scheduler(options.scheduler or metadata.get("scheduler")),
        adapters=tuple(map(parameters.parse_lora, options.loras)) or _loras_of(metadata),
        prompt_syntax=options.prompt_syntax or (metadata.get("prompt_syntax", "plain") if metadata else None),
        styles=options.styles,
        written=written,
        workflow=workflow,
        output=OutputFormat(options.format, fps=options.fps),
    )
    return request, names


def _workflow(metadata: Mapping[str, Any], options: Mapping[str, Any], *, takes_stages: bool) -> dict[str, Any]:
    """Return the workflow of the options, merged over that of the metadata, whose stages another model may not have."""
    changes = {name: metadata[name] for name in ("variation", "noise", "seamless") if name in metadata}
    made = {name: each for name, each in metadata.get("workflow", {}).items() if name != "stages" or takes_stages}
    return {**made, **changes, **options}


def _loras_of(metadata: Mapping[str, Any]) -> tuple[AdapterChoice, ...]:
    """Return the LoRAs of metadata."""
    return tuple(AdapterChoice(**adapter) for adapter in metadata.get("adapters", ()))


def _describe_call(call: Any) -> dict[str, Any]:
    """Return a call as JSON data."""
    return {
        "model": call.model.name,
        "source": call.model.model,
        "pipeline": call.runs_as,
        "task": call.task,
        "scheduler": call.scheduler and {"name": call.scheduler.name, "settings": dict(call.scheduler.settings)},
        "runs": list(_describe_runs(call)),
    }


def _describe_runs(call: Any) -> Iterator[dict[str, Any]]:
    """Yield each run of a call as JSON data."""
    for run in call.runs:
        yield {
            "params": dict(run.params),
            "inputs": {name: [_describe_input(each) for each in media] for name, media in run.inputs.items()},
            "seed": run.seed,
            **({"adapters": [asdict(each) for each in run.adapters]} if run.adapters else {}),
        }


def _describe_input(value: Any) -> str:
    """Return the size and the type of a decoded input."""
    if isinstance(value, list):
        return ", ".join(_describe_input(each) for each in value)
    if hasattr(value, "frames"):
        first = value.frames[0]
        return f"{len(value.frames)} frames of {first.width}x{first.height} at {value.fps:g} fps"
    if hasattr(value, "samples"):
        return f"{value.samples.shape[-1] / value.rate:.2f} seconds at {value.rate} Hz"
    if hasattr(value, "mode"):
        return f"{value.width}x{value.height} {value.mode}"
    return f"{value.dtype} {list(value.shape)}"
