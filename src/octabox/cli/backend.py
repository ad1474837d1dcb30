"""Serve LocalAI's core as its backend for diffusers, over gRPC.

LocalAI starts it through `backends/localai/run.sh`, or calls it where it listens; see `docs/compatibility/localai.md`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any, NoReturn

import click


@click.command(help=__doc__)
@click.option(
    "--addr", default="localhost:50051", show_default=True, help="HOST:PORT to listen on; port 0 takes a free one."
)
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File of settings.")
@click.option(
    "--allow-path",
    "paths",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another folder that requests may name files in.",
)
@click.option("--device", help="Device of models, whatever LocalAI says of CUDA.")
@click.option("--threads", type=int, help="Processor threads of the model.")
@click.option("--queue-size", type=int, help="Requests that may wait.")
@click.option("--load-timeout", type=float, help="Seconds for loading a model, its download included.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Least level to log.")
@click.option("--log-file", type=click.Path(path_type=Path), help="File to log to.")
def command(addr: str, config: Path | None, paths: tuple[Path, ...], **flags: Any) -> None:
    """Read the settings and LocalAI's variables, and serve until told to stop."""
    from octabox.config.settings import Settings
    from octabox.frontends.grpc.localai.environment import Environment
    from octabox.server import build, serve_localai

    settings, environment = Settings.load(flags, config), Environment.load()

    def on_listening(address: str) -> None:
        click.echo(f"Octabox serves LocalAI at {address}", err=True)

    async def run() -> NoReturn:
        code = await serve_localai(build(settings), addr, environment, paths, on_listening)
        logging.shutdown()
        # Python would wait for its threads, of which one may still be reading the catalog; everything else has ended.
        os._exit(code)

    asyncio.run(run())
