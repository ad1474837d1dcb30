"""Generate an image, a video, audio or text with a model.

MODEL is a configured name, a folder, a checkpoint file, a Hub id, or `demo`, the embedded model. Each PROMPT, in quotes, has a
separate result. Without one, prompts are read from the terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from octabox.cli.requests import parameters, workflows

if TYPE_CHECKING:
    from octabox.cli.resident.selection import PrivateServer
    from octabox.cli.terminal.display import View


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
@click.option("--no-preview", is_flag=True, help="Do not show images in the terminal.")
@click.option("--open", "opens", is_flag=True, help="Open each result in the program for its type.")
@click.option("--local", is_flag=True, help="Run in this process, without a server in the background.")
@click.option("-v", "--verbose", is_flag=True, help="Show the log, including warnings of libraries.")
def command(*, no_preview: bool, opens: bool, **options: Any) -> None:
    """Build a request from the options and run it; without a prompt in a terminal, read prompts."""
    from octabox.cli.terminal.display import View

    view = View(preview=not no_preview, opens=opens)
    if _reads_prompts(options):
        _read_prompts(options, view)
    else:
        asyncio.run(_run(view, **options))


def _reads_prompts(options: dict[str, Any]) -> bool:
    """Return whether prompts are read from the terminal: nothing but settings is set."""
    contents = ("prompts", "prompt_file", "source", "params", "inputs", "as_json", "dry_run", *parameters.FILE_OPTIONS)
    return not any(options[name] for name in contents) and options["out"] != "-" and _is_terminal()


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _read_prompts(options: dict[str, Any], view: View) -> None:
    """Read prompts until the user leaves, with a server that keeps the model in memory."""
    from octabox.cli.resident.selection import PrivateServer
    from octabox.cli.terminal.prompt_line import PromptLine, read_lines
    from octabox.config.settings import Settings

    settings = Settings.load({"models": options["models"]})
    with contextlib.ExitStack() as stack:
        server = None
        if options["local"] or options["verbose"] or not settings.run_server or settings.keep_alive == 0:
            server = stack.enter_context(PrivateServer(options["models"]))
        line = PromptLine(options, lambda **each: asyncio.run(_run(view, server=server, **each)), command.params)
        read_lines(line)


async def _run(
    view: View,
    model: str | None,
    *,
    models: Path | None,
    out: str | None,
    as_json: bool,
    local: bool,
    verbose: bool,
    server: PrivateServer | None = None,
    **options: Any,
) -> None:
    """Run the options of a request, and show its events."""
    from octabox.cli.output import Destination
    from octabox.cli.requests.run_options import read_options
    from octabox.cli.resident.selection import run_events
    from octabox.cli.terminal.display import show_events

    destination = Destination(out, as_json=as_json)
    request = read_options(model, destination.format.format, **options)
    events = server.run_events(request) if server else None
    events = events or run_events(request, models, local=local, verbose=verbose)
    await show_events(events, destination, view)
