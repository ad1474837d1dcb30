"""Show the plan and the progress of a download on the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from octabox.cli.requests.pull_plans import summarize_plan

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from octabox.hub.pulls.plan import PullPlan
    from octabox.server import Parts

#: Widths of a terminal from which a progress bar shows bytes, and everything.
NARROW, WIDE = 60, 120


async def run_plan(plan: PullPlan) -> None:
    """Carry out a plan with a progress bar."""
    from octabox.hub.pulls.pull import PullProgress, pull

    with progress_bar(plan.request.repo) as show:

        def report(progress: PullProgress) -> None:
            show(progress.done, progress.total, f"{progress.files_done} of {progress.files} files")

        await pull(plan, report)


async def download_model(parts: Parts) -> None:
    """Show the plan of what a model needs of the Hub, and download it with a progress bar; nothing if it is complete.

    Args:
        parts: The parts of a server that was built for the model.

    Raises:
        OctaboxError: Something cannot be downloaded.
    """
    from octabox.engine.sources.requests import plan_downloads
    from octabox.service.models.snapshot import sources_of

    sources = sources_of(parts.models.snapshot(), parts.name)
    plans = await asyncio.to_thread(lambda: [plan for each in sources for plan in plan_downloads(each)])
    for plan in plans:
        for line in summarize_plan(plan):
            click.echo(line, err=True)
        await run_plan(plan)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a progress bar in bytes, with the rate and the remaining time, within the context.

    Args:
        title: What is downloaded.

    Yields:
        A function that shows the received bytes, the total, and a note.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(*_columns(console.width), console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, note="")

        def show(done: int, total: int, note: str = "") -> None:
            if bar.tasks[0].total is None:
                # What was there before does not count for the rate.
                bar.reset(task, total=total, completed=done, note=note)
            bar.update(task, completed=done, note=note)

        yield show


def _columns(width: int) -> list[ProgressColumn]:
    """Return the parts of a progress bar that fit into one line of a terminal."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column

    amounts = [DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]
    if width < NARROW:
        room, others = 14, [TaskProgressColumn(), TimeRemainingColumn()]
    elif width < WIDE:
        room, others = 36, amounts
    else:
        room, others = 100, [BarColumn(), *amounts, TextColumn("{task.fields[note]}")]
    # The title has what the others leave.
    column = Column(no_wrap=True, overflow="ellipsis", max_width=max(1, width - room))
    return [TextColumn("{task.description}", table_column=column), *others]
