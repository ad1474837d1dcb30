"""Generate an image, a video, audio or text with a model.

MODEL is a configured name, a folder, a checkpoint file, a Hub id, or `demo`, the embedded model. Each PROMPT, in quotes, has a
separate result.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from octabox.cli.requests import parameters, workflows


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
@click.option("--local", is_flag=True, help="Run in this process, without a server in the background.")
@click.option("-v", "--verbose", is_flag=True, help="Show the log, including warnings of libraries.")
def command(**options: Any) -> None:
    """Build a request from the options and run it."""
    asyncio.run(_run(**options))


async def _run(
    model: str | None,
    *,
    models: Path | None,
    out: str | None,
    as_json: bool,
    local: bool,
    verbose: bool,
    **options: Any,
) -> None:
    from octabox.cli.output import Destination
    from octabox.cli.requests.run_options import read_options
    from octabox.cli.resident.selection import run_events
    from octabox.cli.terminal.display import show_events

    destination = Destination(out, as_json=as_json)
    request = read_options(model, destination.format.format, **options)
    await show_events(run_events(request, models, local=local, verbose=verbose), destination)
