"""Where a request of `octabox run` runs: in a server in the background, or in this process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import click

from octabox.cli.output import show_status
from octabox.cli.requests.events import RunEvent
from octabox.cli.requests.run_options import RunOptions
from octabox.cli.resident.connection import ServerGoneError, as_async, ask, remote_events
from octabox.cli.resident.launcher import StartError, find_server, start_server

if TYPE_CHECKING:
    from typing_extensions import Self


async def run_events(
    options: RunOptions, models: Path | None, *, local: bool = False, verbose: bool = False
) -> AsyncGenerator[RunEvent, None]:
    """Run options and yield the events; closing the iterator cancels the request.

    Args:
        options: The options.
        models: The folder of models, if it is an option.
        local: Whether to run in this process.
        verbose: Whether to show the log, which a server writes into a file; it runs in this process then.
    """
    local = local or verbose
    server = None if local else find_server(models)
    if server is not None:
        # It may have ended by itself since it was found.
        with contextlib.suppress(ServerGoneError):
            async with contextlib.aclosing(as_async(remote_events(server, options))) as events:
                async for event in events:
                    yield event
            return
    server = None if local or options.dry_run else _start(models)
    selected = (
        _local_events(options, models, verbose=verbose) if server is None else as_async(remote_events(server, options))
    )
    async with contextlib.aclosing(selected) as events:
        async for event in events:
            yield event


class PrivateServer:
    """The server of this process, which runs within the context and ends with it.

    Args:
        models: The folder of models, if it is an option.
    """

    def __init__(self, models: Path | None) -> None:
        self._models, self._path = models, Path()

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ask(self._path, "POST", "/stop")

    async def run_events(self, options: RunOptions) -> AsyncGenerator[RunEvent, None]:
        """Run options and yield the events; closing the iterator cancels the request.

        The server is started again if it has ended, such as by `octabox stop` in another terminal.
        """
        with contextlib.suppress(ServerGoneError):
            async with contextlib.aclosing(as_async(remote_events(self._path, options))) as events:
                async for event in events:
                    yield event
            return
        self._start()
        async with contextlib.aclosing(as_async(remote_events(self._path, options))) as events:
            async for event in events:
                yield event

    def _start(self) -> None:
        """Start the server."""
        with show_status("starting"):
            self._path = start_server(self._models, owner=os.getpid())


def _start(models: Path | None) -> Path | None:
    """Start a server and return its socket; None if the settings forbid it, or it cannot be started."""
    from octabox.config.settings import Settings

    settings = Settings.load({"models": models})
    if not settings.run_server or settings.keep_alive == 0:
        return None
    try:
        with show_status("starting"):
            return start_server(models)
    except StartError as error:
        click.secho(f"Warning: {error}", fg="yellow", err=True)
        return None


async def _local_events(options: RunOptions, models: Path | None, *, verbose: bool) -> AsyncGenerator[RunEvent, None]:
    """Run options in this process, and yield the events."""
    from octabox.cli.requests.execution import run_here
    from octabox.config.settings import Settings

    flags = {"models": models, "log_level": "debug" if verbose else "error", "allow_hub": True}
    async with contextlib.aclosing(run_here(options, Settings.load(flags))) as events:
        async for event in events:
            yield event
