"""Serve LocalAI as its backend for diffusers, over gRPC.

LocalAI starts it by a script of the repository, or connects to its address:
https://github.com/octabox/octabox/blob/main/docs/guides/localai.md
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any, NoReturn

import click

from octabox.cli.settings_options import config_option, settings_options

logger = logging.getLogger("octabox.localai")


@click.command(help=__doc__)
@click.option(
    "--addr", default="localhost:50051", show_default=True, help="HOST:PORT to listen on; port 0 selects a free one."
)
@config_option
@click.option(
    "--allow-path",
    "paths",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Additional folder of files that requests may name.",
)
@settings_options(
    "device", "threads", "queue_size", "load_timeout", "silence_timeout", "progress_timeout", "log_level", "log_file"
)
def command(addr: str, config: Path | None, paths: tuple[Path, ...], **flags: Any) -> None:
    """Load the settings and LocalAI's variables, and serve until stopped."""
    from octabox.config.settings import Settings
    from octabox.frontends.grpc.localai.environment import Environment
    from octabox.server import build, end_processes, serve_localai

    settings, environment = Settings.load(flags, config), Environment.load()
    parts = build(settings)
    for warning in settings.warnings:
        logger.warning("%s", warning)  # LocalAI shows its log, not what it prints.

    def on_listening(address: str) -> None:
        click.echo(f"Octabox serves LocalAI at {address}", err=True)

    async def run() -> NoReturn:
        code = await serve_localai(parts, addr, environment, paths, on_listening)
        await end_processes()
        logging.shutdown()
        # Python would wait for its threads, of which one may still read the catalog; everything else is closed.
        os._exit(code)

    asyncio.run(run())
