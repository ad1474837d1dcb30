"""Show the events of a request on the terminal, and write its results as they are made."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import click

from octabox.cli import interruption
from octabox.cli.output import Destination, describe_result, show_status
from octabox.cli.requests.events import Checked, DownloadProgress, Message, Prepared, RunEvent
from octabox.cli.terminal.preview import show_image
from octabox.errors import GenerationError
from octabox.telemetry.request_line import speed
from octabox.types import Artifact, Generation, Progress


@dataclass(frozen=True)
class View:
    """How results are shown.

    Args:
        preview: Whether images are shown in the terminal, if it can.
        opens: Whether files are opened in the program for their type.
    """

    preview: bool = False
    opens: bool = False


async def show_events(
    events: AsyncGenerator[RunEvent, None], destination: Destination, view: View | None = None
) -> None:
    """Show the events of a request, and write each result when it is made.

    Args:
        events: The events; they are closed in the end, which cancels a request that has not ended.
        destination: Where the results are written.
        view: How they are shown.
    """
    async with contextlib.aclosing(events):
        prepared = await _show_preparation(events, destination)
        if prepared.description is not None:
            click.echo(json.dumps(prepared.description, indent=2, default=str))
        else:
            destination.check(prepared.count)
            await _show_results(events, destination, prepared, view or View())
        async for _ in events:  # A server would take an early end for a cancellation.
            pass


async def _show_preparation(events: AsyncIterator[RunEvent], destination: Destination) -> Prepared:
    """Show messages and downloads until the request is prepared; before a download, check that results can be written."""
    event: RunEvent | None = None
    while True:
        with contextlib.nullcontext() if isinstance(event, DownloadProgress) else show_status("preparing"):
            event = await anext(events, None)
        if isinstance(event, DownloadProgress):
            event = await _show_download(events, event)
        if isinstance(event, Message):
            click.secho(event.text, fg="yellow" if event.is_warning else None, err=True)
        elif isinstance(event, Checked):
            destination.check(event.count)
        elif isinstance(event, Prepared):
            return event
        elif event is None:
            raise GenerationError("The request ended without a result.")


async def _show_download(events: AsyncIterator[RunEvent], event: DownloadProgress) -> RunEvent | None:
    """Show the progress of a download until another event, and return that."""
    from octabox.cli.hub.downloads import progress_bar

    with progress_bar(event.title) as show:
        following: RunEvent | None = event
        while isinstance(following, DownloadProgress):
            show(following.done, following.total, following.note)
            following = await anext(events, None)
    return following


async def _show_results(
    events: AsyncIterator[RunEvent], destination: Destination, prepared: Prepared, view: View
) -> None:
    """Show the progress of each result, and write it."""
    from octabox.frontends.naming.renaming import rename_warnings

    notes: dict[str, bool] = {}
    several = prepared.count > 1
    try:
        for number in range(1, prepared.count + 1):
            title = f" ({number} of {prepared.count})" if several else ""
            generation = await show_progress(events, title)
            warnings = rename_warnings(generation.warnings, prepared.names)
            _report(replace(generation, warnings=tuple(warnings)), destination, view, several=several)
            notes |= dict.fromkeys(_describe_loras(generation), False) | dict.fromkeys(warnings, True)
    finally:
        for note, is_warning in notes.items():
            if is_warning:
                click.secho(f"Warning: {note}", fg="yellow", err=True)
            else:
                click.echo(note, err=not destination.prints_paths)


def _report(generation: Generation, destination: Destination, view: View, *, several: bool) -> None:
    """Write the artifacts, print their paths and seeds, and show the images."""
    paths = destination.write(generation, several=several)
    for path in paths:
        interruption.note_written(path)
    if destination.as_json:
        click.echo(json.dumps(describe_result(generation, paths)))
    elif destination.prints_paths:
        for artifact, path in zip(generation.artifacts, paths, strict=True):
            click.echo(f"{path}{_describe_making(generation, artifact)}")
            if view.preview:
                show_image(artifact)
    if view.opens:
        for path in paths:
            click.launch(str(path))


def _describe_making(generation: Generation, artifact: Artifact) -> str:
    """Return the seed of a result, and on a terminal how long it took; programs that read the output expect the seed."""
    parts = [] if artifact.seed is None else [f"seed {artifact.seed}"]
    if sys.stdout.isatty() and (seconds := generation.timings.get("run")):
        parts += [f"made in {seconds:.1f} s", *filter(None, [speed(generation)])]
    return f"  ({', '.join(parts)})" if parts else ""


def _describe_loras(generation: Generation) -> Iterator[str]:
    """Yield how much of each LoRA was used, and its weight."""
    for each in generation.adapters:
        yield f"LoRA {each.lora}: {each.used} of {each.keys} tensors, weight {each.weight:g}"


async def show_progress(events: AsyncIterator[RunEvent], title: str = "") -> Generation:
    """Show the progress of a request on standard error until it has a result, and return that.

    Args:
        events: The events of the request.
        title: Text after the phase.
    """
    with progress_bar() as show:
        async for event in events:
            if isinstance(event, Generation):
                return event
            if isinstance(event, Progress):
                show(event, title)
    raise GenerationError("The request ended without a result.")


@contextlib.contextmanager
def progress_bar() -> Iterator[Any]:
    """Yield a function that shows progress on a terminal, with a text after the phase; elsewhere it shows nothing."""
    if not sys.stderr.isatty():
        yield lambda _progress, _title: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as ProgressBar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ProgressBar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(event: Progress, title: str) -> None:
            part = f" (part {event.part} of {event.parts})" if event.parts > 1 else ""
            description = f"{event.phase}{part}{title}"
            bar.update(task, description=description, completed=event.step, total=event.steps or None)

        yield show
