"""Write a model out as a folder in diffusers' format.

MODEL is a configured name, a folder, a checkpoint file, a Hub id or `demo`; OUT is the folder to write. Weights are written as
.safetensors, in float32 unless --dtype or the configuration says otherwise. LoRAs of the configuration are added to them.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from octabox.config.model import DTYPES


def _size(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Take a size such as 500MB or 5GiB."""
    if value is not None and not re.fullmatch(r"\d+[KMG]i?B", value):
        raise click.BadParameter(f"{value!r} is no size such as 500MB or 5GB.")
    return value


@click.command(help=__doc__)
@click.argument("model")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--dtype", type=click.Choice(DTYPES), help="Type of the weights' numbers.")
@click.option("--variant", help="Part of the weight files' names, such as fp16.")
@click.option("--max-shard-size", callback=_size, help="Largest weight file, such as 5GB; larger ones are split.")
@click.option("--force", is_flag=True, help="Replace a model that is in OUT already.")
@click.option("--models", type=click.Path(path_type=Path), help="Folder of model configurations.")
@click.option("-v", "--verbose", is_flag=True, help="Show the log, the libraries' warnings included.")
def command(
    model: str,
    out: Path,
    *,
    dtype: str | None,
    variant: str | None,
    max_shard_size: str | None,
    force: bool,
    models: Path | None,
    verbose: bool,
) -> None:
    """Convert a model."""
    import asyncio

    from octabox.cli.outcome import waiting
    from octabox.config.settings import Settings
    from octabox.engine.local.conversion import convert
    from octabox.engine.messages import Conversion, WorkerOptions
    from octabox.server import build

    level = "debug" if verbose else "error"
    with waiting("converting"):
        parts = build(Settings.load({"models": models, "allow_hub": True, "log_level": level}), given=model)
        served = asyncio.run(parts.models.served(parts.name))
        config = served.config.model_copy(update={"dtype": dtype} if dtype else {})
        options = WorkerOptions(threads=parts.settings.threads, log_level=level)
        place = Path(out).absolute()
        order = Conversion(config, served.own.name, place, options, variant, max_shard_size)
        done = convert(order, force=force)
    click.echo(f"{out}  ({served.own.name})")
    for warning in done.warnings:
        click.secho(f"Warning: {warning}", fg="yellow", err=True)
