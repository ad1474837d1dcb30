"""Remove downloaded models, LoRAs and embeddings.

NAME is a Hub id, with @REVISION for one revision of it, or the name of a downloaded file in the folders of models, LoRAs and
embeddings. What would be freed is shown first. What is loaded or being downloaded is not removed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.command("rm", help=__doc__)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--models", type=click.Path(path_type=Path), metavar="DIR", help="Folder of models.")
@click.option("--json", "as_json", is_flag=True, help="Print what was removed as JSON.")
def command(names: tuple[str, ...], *, yes: bool, models: Path | None, as_json: bool) -> None:
    """Show what is freed, and remove it."""
    from octabox.cli.settings_options import load_settings
    from octabox.cli.tables import format_size
    from octabox.config.discovery import discover
    from octabox.hub.browsing.removal import plan_removals, remove
    from octabox.hub.pulls.links import ModelFolders

    settings = load_settings({"models": models})
    folders = ModelFolders(settings.models, settings.lora_folder, settings.embedding_folder)
    configurations = discover(settings.models).models
    configured = {config.model: config.name for config in configurations.values()}
    sources = {name: config.model for name, config in configurations.items()}
    removals = plan_removals(names, folders, settings.cache_dir / "files", sources)
    for each in removals:
        what = f"@{each.revision}" if each.revision else ""
        click.echo(f"{each.name}{what}: frees {format_size(each.freed)}", err=True)
        for link in each.links:
            click.echo(f"  and the link {link}", err=True)
        for file in each.files:
            click.echo(f"  the file {file}", err=True)
        if each.kept:
            click.echo(f"  Its files are kept for {', '.join(each.kept)}.", err=True)
        if each.name in configured:
            text = f"  The model '{configured[each.name]}' is configured with it, and would download it again."
            click.secho(text, fg="yellow", err=True)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("Standard input is not a terminal: add --yes to remove without asking.")
        click.confirm("Remove?", default=False, abort=True, err=True)
    for each in removals:
        remove(each)
    if as_json:
        click.echo(json.dumps([each.to_json() for each in removals], indent=2))
    else:
        click.echo(f"Freed {format_size(sum(each.freed for each in removals))}.")
