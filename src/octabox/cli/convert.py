"""Convert a model to a folder in diffusers' format.

MODEL is a configured name, a folder, a checkpoint file, a Hub id or `demo`; OUT is the folder to write. Weights are saved as
.safetensors, in float32 unless --dtype or the configuration sets another dtype. LoRAs of the configuration are merged.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from octabox.config.model import DTYPES


def _check_size(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Check a size such as 500MB or 5GiB."""
    if value is not None and not re.fullmatch(r"\d+[KMG]i?B", value):
        raise click.BadParameter(f"must be a size such as 500MB or 5GB, not {value!r}.")
    return value


@click.command(help=__doc__)
@click.argument("model")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--dtype", type=click.Choice(DTYPES), help="Dtype of the weights.")
@click.option("--variant", help="Variant of the weight files, such as fp16.")
@click.option("--max-shard-size", callback=_check_size, help="Maximum size of a weight file, such as 5GB.")
@click.option("--force", is_flag=True, help="Replace an existing model in OUT.")
@click.option("--models", type=click.Path(path_type=Path), help="Folder of model configurations.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Show the log, including warnings of libraries.")
def command(
    model: str,
    out: Path,
    *,
    dtype: str | None,
    variant: str | None,
    max_shard_size: str | None,
    force: bool,
    models: Path | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Convert a model."""
    import asyncio

    from octabox.cli.hub.downloads import download_model
    from octabox.cli.output import show_status
    from octabox.cli.requests.options import check_single
    from octabox.cli.settings_options import load_settings
    from octabox.engine.conversions import Conversion
    from octabox.engine.local.conversion import convert
    from octabox.engine.messages import WorkerOptions
    from octabox.server import build

    level = "debug" if verbose else "error"
    with show_status("preparing"):
        parts = build(load_settings({"models": models, "allow_hub": True, "log_level": level}), model=model)
        check_single(parts.models.snapshot().config(parts.name), "converted")
    asyncio.run(download_model(parts))
    with show_status("converting"):
        served = asyncio.run(parts.models.served(parts.name))
        config = served.config.model_copy(update={"dtype": dtype} if dtype else {})
        options = WorkerOptions(threads=parts.settings.threads, log_level=level)
        conversion = Conversion(config, served.pipeline.name, Path(out).absolute(), options, variant, max_shard_size)
        result = convert(conversion, force=force)
    if as_json:
        folder = {"path": str(out), "pipeline": served.pipeline.name, "warnings": list(result.warnings)}
        click.echo(json.dumps(folder, indent=2, ensure_ascii=False))
    else:
        click.echo(f"{out}  ({served.pipeline.name})")
    for warning in result.warnings:
        click.secho(f"Warning: {warning}", fg="yellow", err=True)
