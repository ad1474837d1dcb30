"""Make what a model makes: an image, a video, an audio, words, from whatever it takes.

MODEL is a configured name, a folder, a checkpoint file, a Hub id, or `demo`, the embedded model. Each PROMPT makes a result
of its own.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from octabox.cli import workflows
from octabox.errors import InvalidParameterError, MediaError

if TYPE_CHECKING:
    from octabox.cli.outcome import Destination
    from octabox.server import Parts
    from octabox.types import AdapterChoice, Generation, GenerationRequest, SchedulerChoice


@click.command(help=__doc__)
@click.argument("model", required=False)
@click.argument("prompts", metavar="[PROMPT]...", nargs=-1)
@click.option("--prompt-file", type=click.Path(path_type=Path), help="File with a prompt in each line.")
@click.option("--prompt-syntax", help="How prompts are read: plain, or with weights and wildcards as a1111 or compel.")
@click.option("--style", "styles", multiple=True, metavar="NAME", help="A style that is laid over the prompts.")
@click.option("--from", "source", type=click.Path(path_type=Path), help="A file that was made before, to make again.")
@click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="A call parameter of the pipeline.")
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=FILE",
    help="An image, video, audio or .npy array for a call parameter.",
)
@click.option("-o", "--out", metavar="FILE|FOLDER/", help="Where the result goes; the suffix decides the format.")
@click.option("--seed", type=int, help="Seed of the first result; drawn at random, and reported, if not given.")
@click.option("-n", "--num-outputs", default=1, show_default=True, help="How many results; each has the next seed.")
@click.option("--task", help="Task, such as image-to-image, where the inputs do not tell.")
@click.option("--fps", type=float, help="Frames a second of a video; the pipeline's own, or 16, if not given.")
@click.option(
    "--scheduler", help='Noise scheduler: any of its names, or JSON such as {"name": "unipc", "solver_order": 3}.'
)
@click.option("--lora", "loras", multiple=True, metavar="NAME[:WEIGHT]", help="A LoRA by name, file, folder or Hub id.")
@click.option("--profile", help="Performance profile in place of the model's own: exact, fast or turbo.")
@workflows.options
@click.option("--models", type=click.Path(path_type=Path), help="Folder of model configurations.")
@click.option("--dry-run", is_flag=True, help="Print the call that would be made, and stop.")
@click.option("-v", "--verbose", is_flag=True, help="Show the log, the libraries' warnings included.")
def command(**options: Any) -> None:
    """Collect the options into a request and run it."""
    asyncio.run(_run(**options))


async def _run(model: str | None, *, models: Path | None, dry_run: bool, verbose: bool, **options: Any) -> None:
    from octabox.cli.options import check_inputs, facts_of, model_of, other_inputs, prompts_of, use_performance
    from octabox.cli.outcome import Destination, waiting
    from octabox.config.settings import Settings
    from octabox.server import build

    prompts = prompts_of(options.pop("prompts"), options.pop("prompt_file"))
    source, workflow = options.pop("source"), workflows.taken(options)
    facts, profile = facts_of(source) if source else {}, options.pop("profile")
    model = model_of(facts, model)
    flags = {"models": models, "log_level": "debug" if verbose else "error", "allow_hub": True}
    if (total := len(prompts) * options["num_outputs"]) > 1:
        # Whoever asks on his own machine is not to be kept from it.
        flags["max_outputs"] = max(total, Settings.load(flags).max_outputs)
    with waiting("getting ready"):
        parts = build(Settings.load(flags), given=model)
        use_performance(parts.models, parts.name, facts, profile)
        destination = Destination(options["out"])
        workflow = workflows.placed(_workflow(facts, workflow), parts.models)
        request = replace(_request(parts, destination, facts, prompts, **options), workflow=workflow)
        check_inputs(facts, request.inputs.keys() | request.params.keys())
        call = await parts.generation.prepare(request)
    for warning in other_inputs(facts, call):
        click.secho(f"Warning: {warning}", fg="yellow", err=True)
    if dry_run:
        told = _describe(call) | ({"workflow": workflow} if workflow else {})
        click.echo(json.dumps(told, indent=2, default=str))
        return
    destination.check()
    _report(await _generate(parts, request), destination)


def _request(
    parts: Parts,
    destination: Destination,
    facts: dict[str, Any],
    prompts: list[str],
    *,
    params: tuple[str, ...],
    inputs: tuple[str, ...],
    seed: int | None,
    num_outputs: int,
    task: str | None,
    scheduler: str | None,
    fps: float | None,
    prompt_syntax: str | None,
    styles: tuple[str, ...],
    loras: tuple[str, ...],
    **_: Any,
) -> GenerationRequest:
    """Return the request that the options mean, over that of a file that is to be made again."""
    from octabox.types import GenerationRequest

    task = task or facts.get("task")
    given = {**facts.get("params", {}), **_parse_params(params, parts.models.schema(parts.name, task)["properties"])}
    if prompts:
        given["prompt"] = prompts[0] if len(prompts) == 1 else prompts
    written = {
        name: text for name, text in facts.get("written", {}).items() if given.get(name) == facts["params"].get(name)
    }
    return GenerationRequest(
        model=parts.name,
        task=task,
        params=given,
        inputs=_read_inputs(inputs),
        seed=facts.get("seed") if seed is None else seed,
        num_outputs=num_outputs,
        scheduler=_scheduler(scheduler or facts.get("scheduler")),
        adapters=tuple(map(_lora, loras)) or _loras_of(facts),
        prompt_syntax=prompt_syntax or (facts.get("prompt_syntax", "plain") if facts else None),
        styles=styles,
        written=written,
        output=replace(destination.format, fps=fps),
    )


def _workflow(facts: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the workflow that a file was made by, with what the options say of it."""
    made_by = dict(facts.get("workflow", {}))
    return made_by | ({"variation": facts["variation"]} if "variation" in facts else {}) | given


def _scheduler(text: str | dict[str, Any] | None) -> SchedulerChoice | None:
    """Return the scheduler that an option means, by name or as JSON with settings, or what a file's metadata say of it."""
    from octabox.schedulers.names import scheduler_choice

    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return scheduler_choice(text)
    try:
        return scheduler_choice(json.loads(text))
    except ValueError as error:
        raise InvalidParameterError(f"'scheduler' is no JSON: {error}.", parameter="scheduler") from error


def _lora(text: str) -> AdapterChoice:
    """Read ``name`` or ``name:weight``; a colon before anything but a number belongs to the name."""
    from octabox.types import AdapterChoice

    name, _, weight = text.rpartition(":")
    try:
        return AdapterChoice(name or text, float(weight) if name else 1.0)
    except ValueError:
        return AdapterChoice(text)


def _loras_of(facts: dict[str, Any]) -> tuple[AdapterChoice, ...]:
    """Return the LoRAs that a file was made with."""
    from octabox.types import AdapterChoice

    return tuple(AdapterChoice(**told) for told in facts.get("adapters", ()))


def _parse_params(texts: tuple[str, ...], properties: dict[str, Any]) -> dict[str, Any]:
    """Read ``name=value`` pairs; a value is JSON, but for parameters that take text it is the text itself."""
    params: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidParameterError(f"'{text}' is no NAME=VALUE.", hint="Write for example: -p guidance_scale=3")
        params[name] = _parse_value(value, properties.get(name, {}))
    return params


def _parse_value(value: str, schema: dict[str, Any]) -> Any:
    kinds = [schema, *schema.get("anyOf", [])]
    takes_text = any("string" in (kind.get("type") or ()) for kind in kinds)
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return value if takes_text and not isinstance(parsed, (list, dict)) else parsed


def _read_inputs(texts: tuple[str, ...]) -> dict[str, tuple[bytes | str, ...]]:
    """Read ``name=file`` pairs; a URL stays as it is, and a name that is given twice makes a list."""
    inputs: dict[str, tuple[bytes | str, ...]] = {}
    for text in texts:
        name, _, source = text.partition("=")
        if not name or not source:
            raise InvalidParameterError(f"'{text}' is no NAME=FILE.", hint="Write for example: -i image=photo.png")
        try:
            content = source if source.startswith(("http://", "https://")) else Path(source).read_bytes()
        except OSError as error:
            raise MediaError(f"'{source}' cannot be read: {error.strerror}.", parameter=name) from error
        inputs[name] = (*inputs.get(name, ()), content)
    return inputs


def _describe(call: Any) -> dict[str, Any]:
    """Return what a call would do, for people."""
    return {
        "model": call.model.name,
        "source": call.model.model,
        "pipeline": call.runs_as,
        "task": call.task,
        "scheduler": call.scheduler and {"name": call.scheduler.name, "settings": dict(call.scheduler.settings)},
        "runs": [
            {
                "params": dict(run.params),
                "inputs": {name: [_medium(each) for each in media] for name, media in run.inputs.items()},
                "seed": run.seed,
                **({"adapters": [asdict(each) for each in run.adapters]} if run.adapters else {}),
            }
            for run in call.runs
        ],
    }


def _medium(medium: Any) -> str:
    """Return what is to be seen of a decoded input."""
    if isinstance(medium, list):
        return ", ".join(_medium(each) for each in medium)
    if hasattr(medium, "frames"):
        first = medium.frames[0]
        return f"{len(medium.frames)} frames of {first.width}x{first.height} at {medium.fps:g} a second"
    if hasattr(medium, "samples"):
        return f"{medium.samples.shape[-1] / medium.rate:.2f} seconds at {medium.rate} Hz"
    if hasattr(medium, "mode"):
        return f"{medium.width}x{medium.height} {medium.mode}"
    return f"{medium.dtype} {list(medium.shape)}"


async def _generate(parts: Parts, request: GenerationRequest) -> Generation:
    """Run a request with a progress bar on the terminal."""
    from octabox.cli.outcome import watch

    await parts.engine.start([parts.models.config(parts.name)])
    try:
        return await watch(parts.generation.stream(request))
    finally:
        await parts.engine.close()


def _report(generation: Generation, destination: Destination) -> None:
    """Write the artifacts and say where they are, with which seed, and what was not honoured."""
    for artifact, path in zip(generation.artifacts, destination.write(generation), strict=True):
        click.echo(f"{path}  (seed {artifact.seed})" if artifact.seed is not None else str(path))
    for each in generation.adapters:
        click.echo(f"LoRA {each.lora}: {each.used} of {each.keys} tensors, strength {each.weight:g}")
    for warning in generation.warnings:
        click.secho(f"Warning: {warning}", fg="yellow", err=True)
