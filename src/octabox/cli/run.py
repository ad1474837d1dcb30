"""Generate an image, a video, audio or text with a model.

MODEL is a configured name, a folder, a checkpoint file, a Hub id, or `demo`, the embedded model. Each PROMPT, in quotes, has a
separate result.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from octabox.cli import interruption
from octabox.cli.requests import parameters, workflows

if TYPE_CHECKING:
    from octabox.cli.output import Destination
    from octabox.config.settings import Settings
    from octabox.server import Parts
    from octabox.types import AdapterChoice, Generation, GenerationRequest


@click.command(help=__doc__)
@click.argument("model", required=False)
@click.argument("prompts", metavar="[PROMPT]...", nargs=-1)
@click.option(
    "--prompt-file", type=click.Path(path_type=Path), help="File with a prompt in each line; - is standard input."
)
@click.option("--prompt-syntax", help="Prompt syntax: plain, or a1111 or compel with weights and wildcards.")
@click.option("--style", "styles", multiple=True, metavar="NAME", help="A style to apply to the prompts.")
@click.option("--from", "source", type=click.Path(path_type=Path), help="A generated file to reproduce.")
@parameters.parameter_options
@click.option("-o", "--out", metavar="FILE|FOLDER/", help="File or folder of the result, or - for standard output.")
@click.option("--seed", type=int, help="Seed of the first result; random by default or if -1, and printed.")
@click.option(
    "-n", "--num-outputs", "--count", default=1, show_default=True, help="Number of results; the seed increases by 1."
)
@click.option("--task", help="Task, such as image-to-image, if the inputs do not determine it.")
@click.option("--fps", type=float, help="Frames per second of a video; by default the pipeline's, or 16.")
@click.option(
    "--scheduler", "--sampler", help='Noise scheduler: a name, or JSON such as {"name": "unipc", "solver_order": 3}.'
)
@click.option("--lora", "loras", multiple=True, metavar="NAME[:WEIGHT]", help="A LoRA by name, file, folder or Hub id.")
@click.option("--profile", help="Performance profile: exact, fast or turbo. By default the model's.")
@workflows.workflow_options
@click.option("--models", type=click.Path(path_type=Path), help="Folder of model configurations.")
@click.option("--json", "as_json", is_flag=True, help="Print each result as a line of JSON.")
@click.option("--dry-run", is_flag=True, help="Print the call without running it.")
@click.option("-v", "--verbose", is_flag=True, help="Show the log, including warnings of libraries.")
def command(**options: Any) -> None:
    """Build a request from the options and run it."""
    asyncio.run(_run(**options))


async def _run(model: str | None, *, models: Path | None, dry_run: bool, verbose: bool, **options: Any) -> None:
    from octabox.catalog.pipelines import load_catalog
    from octabox.cli.hub.downloads import download_model
    from octabox.cli.output import Destination, show_status
    from octabox.cli.requests.options import (
        apply_profile,
        check_count,
        check_inputs,
        find_changed_inputs,
        read_metadata,
        read_prompts,
        require_model,
        skipped_layers,
    )
    from octabox.config.settings import Settings
    from octabox.server import build

    param_texts, input_texts = parameters.pop_parameters(options)
    prompts = read_prompts(model, options.pop("prompts"), options.pop("prompt_file"))
    source, workflow = options.pop("source"), workflows.pop_workflow(options)
    metadata, profile = read_metadata(source) if source else {}, options.pop("profile")
    model = require_model(metadata, model)
    settings = Settings.load({"models": models, "log_level": "debug" if verbose else "error", "allow_hub": True})
    check_count(options["num_outputs"], settings.max_outputs)
    settings = _scale_limit(settings, len(prompts))
    parts = build(settings, model=model)
    await download_model(parts.models.config(parts.name), dry_run=dry_run)
    with show_status("preparing"):
        apply_profile(parts.models, parts.name, metadata, profile)
        destination = Destination(options["out"], as_json=options.pop("as_json"))
        workflow = workflows.add_models(_workflow(metadata, workflow), parts.models)
        task = options.pop("task") or metadata.get("task")
        schema = parts.models.schema(parts.name, task)
        params, names = parameters.parse_parameters(param_texts, schema["properties"])
        params = skipped_layers(metadata, load_catalog().pipeline(schema["x-pipeline"])) | params
        request = replace(
            _build_request(parts, destination, metadata, prompts, task=task, params=params, **options),
            workflow=workflow,
            inputs=parameters.read_inputs(input_texts),
        )
        check_inputs(metadata, request.inputs.keys() | request.params.keys())
        call = await parts.generation.prepare(request)
    for warning in find_changed_inputs(metadata, call):
        click.secho(f"Warning: {warning}", fg="yellow", err=True)
    if dry_run:
        click.echo(
            json.dumps(_describe_call(call) | ({"workflow": workflow} if workflow else {}), indent=2, default=str)
        )
        return
    destination.check(len(call.runs))
    await _generate(parts, request, destination, count=len(call.runs), names=names)


def _scale_limit(settings: Settings, prompts: int) -> Settings:
    """Return settings whose limit of outputs is for each prompt, since the prompts are written one by one."""
    return settings.model_copy(update={"max_outputs": settings.max_outputs * max(1, prompts)})


def _build_request(
    parts: Parts,
    destination: Destination,
    metadata: dict[str, Any],
    prompts: list[str],
    *,
    task: str | None,
    params: dict[str, Any],
    seed: int | None,
    num_outputs: int,
    scheduler: str | None,
    fps: float | None,
    prompt_syntax: str | None,
    styles: tuple[str, ...],
    loras: tuple[str, ...],
    **_: Any,
) -> GenerationRequest:
    """Return the request of the options, merged over that of the metadata."""
    from octabox.service.planning import parse_seed
    from octabox.types import GenerationRequest

    merged = {**metadata.get("params", {}), **params}
    if prompts:
        merged["prompt"] = prompts[0] if len(prompts) == 1 else prompts
    written = {
        name: text
        for name, text in metadata.get("written", {}).items()
        if merged.get(name) == metadata["params"].get(name)
    }
    return GenerationRequest(
        model=parts.name,
        task=task,
        params=merged,
        seed=metadata.get("seed") if seed is None else parse_seed(seed),
        num_outputs=num_outputs,
        scheduler=parameters.parse_scheduler(scheduler or metadata.get("scheduler")),
        adapters=tuple(map(parameters.parse_lora, loras)) or _loras_of(metadata),
        prompt_syntax=prompt_syntax or (metadata.get("prompt_syntax", "plain") if metadata else None),
        styles=styles,
        written=written,
        output=replace(destination.format, fps=fps),
    )


def _workflow(metadata: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return the workflow of the options, merged over that of the metadata."""
    workflow = dict(metadata.get("workflow", {}))
    return workflow | ({"variation": metadata["variation"]} if "variation" in metadata else {}) | options


def _loras_of(metadata: dict[str, Any]) -> tuple[AdapterChoice, ...]:
    """Return the LoRAs of metadata."""
    from octabox.types import AdapterChoice

    return tuple(AdapterChoice(**adapter) for adapter in metadata.get("adapters", ()))


def _describe_call(call: Any) -> dict[str, Any]:
    """Return a call as JSON data."""
    return {
        "model": call.model.name,
        "source": call.model.model,
        "pipeline": call.runs_as,
        "task": call.task,
        "scheduler": call.scheduler and {"name": call.scheduler.name, "settings": dict(call.scheduler.settings)},
        "runs": [
            {
                "params": dict(run.params),
                "inputs": {name: [_describe_input(each) for each in media] for name, media in run.inputs.items()},
                "seed": run.seed,
                **({"adapters": [asdict(each) for each in run.adapters]} if run.adapters else {}),
            }
            for run in call.runs
        ],
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


async def _generate(
    parts: Parts,
    request: GenerationRequest,
    destination: Destination,
    *,
    count: int,
    names: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Run a request with a progress bar, and write each result when it is made.

    Args:
        parts: The parts of a server.
        request: The request.
        destination: Where the results are written.
        count: Number of results.
        names: Names of parameters on the command line, if they differ from diffusers'.
    """
    from octabox.cli.output import show_progress
    from octabox.frontends.naming.parameters import rename_warnings

    notes: dict[str, bool] = {}
    await parts.engine.start([parts.models.config(parts.name)])
    try:
        async with contextlib.aclosing(parts.generation.stream_each(request)) as events:
            for number in range(1, count + 1):
                title = f" ({number} of {count})" if count > 1 else ""
                generation = await show_progress(events, title)
                warnings = rename_warnings(generation.warnings, names)
                _report(replace(generation, warnings=tuple(warnings)), destination, several=count > 1)
                notes |= dict.fromkeys(_describe_loras(generation), False) | dict.fromkeys(warnings, True)
    finally:
        await parts.close()
        for note, is_warning in notes.items():
            if is_warning:
                click.secho(f"Warning: {note}", fg="yellow", err=True)
            else:
                click.echo(note, err=not destination.prints_paths)


def _report(generation: Generation, destination: Destination, *, several: bool) -> None:
    """Write the artifacts, and print their paths and seeds."""
    from octabox.cli.output import describe_result

    paths = destination.write(generation, several=several)
    for path in paths:
        interruption.note_written(path)
    if destination.as_json:
        click.echo(json.dumps(describe_result(generation, paths)))
    elif destination.prints_paths:
        for artifact, path in zip(generation.artifacts, paths, strict=True):
            click.echo(f"{path}  (seed {artifact.seed})" if artifact.seed is not None else str(path))


def _describe_loras(generation: Generation) -> Iterator[str]:
    """Yield how much of each LoRA was used, and its weight."""
    for each in generation.adapters:
        yield f"LoRA {each.lora}: {each.used} of {each.keys} tensors, weight {each.weight:g}"
