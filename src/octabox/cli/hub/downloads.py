"""Show the plan and the progress of a download on the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from octabox.cli.tables import format_size
from octabox.hub.hub_fields import printable

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from octabox.hub.pulls.plan import PullPlan
    from octabox.server import Parts

#: Maximum number of files to list in a plan.
MAX_FILES = 25

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

    sources = parts.models.sources(parts.name)
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


def summarize_plan(plan: PullPlan, *, files: bool = False) -> Iterator[str]:
    """Yield the lines of a plan: what is downloaded, what is there, and what is left out."""
    if plan.note:
        yield plan.note
        return
    revision = plan.request.revision or "main"
    count = f"{len(plan.files)} of {len(plan.all_files)} files"
    yield f"{plan.request.repo}@{revision} ({plan.kind}, commit {plan.commit[:8]}): {count}, {format_size(plan.size)}"
    if files:
        missing = {each.digest for each in plan.missing}
        for each in sorted(plan.files, key=lambda each: -each.size)[:MAX_FILES]:
            where = "" if each.digest in missing else "  (in the cache)"
            yield f"  {format_size(each.size):>10}  {printable(each.path)}{where}"
        if len(plan.files) > MAX_FILES:
            yield f"  and {len(plan.files) - MAX_FILES} more"
    present = f", {format_size(plan.present)} are in the cache" if plan.present else ""
    skipped = f", {format_size(plan.skipped)} are not needed" if plan.skipped > 0 else ""
    yield f"To download: {format_size(plan.to_fetch)}{present}{skipped}; free on the disk: {format_size(plan.free)}"
