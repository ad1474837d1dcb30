"""List the models on this machine: size, use and whether each is complete.

They are those in the Hub's cache, and the models, LoRAs and embeddings in their folders.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click


@click.command("models", help=__doc__)
@click.option("--models", type=click.Path(path_type=Path), metavar="DIR", help="Folder of models.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, models: Path | None, as_json: bool) -> None:
    """Print the models on this machine."""
    from huggingface_hub import constants

    from octabox.cli.settings_options import load_settings
    from octabox.cli.tables import format_size, show_table
    from octabox.hub.browsing.cached_models import cached_models
    from octabox.hub.browsing.local_files import local_models
    from octabox.hub.pulls.links import ModelFolders

    settings = load_settings({"models": models})
    folders = ModelFolders(settings.models, settings.lora_folder, settings.embedding_folder)
    found = [*cached_models(), *local_models(folders)]
    if as_json:
        click.echo(json.dumps([each.to_json() for each in found], indent=2, ensure_ascii=False))
        return
    if not found:
        places = f"{constants.HF_HUB_CACHE} or {settings.models}"
        click.echo(f"There are no models in {places}. Find one: octabox search WORDS", err=True)
        return
    headings = ("NAME", "KIND", "SIZE", "SHARED", "LAST USED", "REVISIONS", "WHERE", "COMPLETE")
    # What a link leads to is counted where it is.
    total = format_size(sum(each.size - (each.shared if each.where == "link" else 0) for each in found))
    foot = f"{len(found)} models, {total} in {constants.HF_HUB_CACHE} and {settings.models}."
    show_table(headings, [_row(each) for each in found], foot=foot)


def _row(model: Any) -> tuple[str, ...]:
    """Return a model as a row of the table."""
    from octabox.cli.tables import format_size

    fix = f": octabox pull {model.name}" if model.where == "cache" else f": {model.missing[0]}" if model.missing else ""
    return (
        model.name,
        model.kind,
        format_size(model.size),
        format_size(model.shared) if model.shared else "",
        time.strftime("%Y-%m-%d", time.localtime(model.last_used)) if model.last_used else "",
        ", ".join(model.revisions),
        f"link to {model.source}" if model.source else model.where,
        "yes" if model.complete else f"no{fix}",
    )
