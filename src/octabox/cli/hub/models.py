"""List the models in the Hub's cache: size, use and whether each is complete."""

from __future__ import annotations

import json
import time

import click


@click.command("models", help=__doc__)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, as_json: bool) -> None:
    """Print the models in the cache."""
    from huggingface_hub import constants

    from octabox.cli.tables import format_size, show_table
    from octabox.hub.browsing.library import cached_models

    found = cached_models()
    if as_json:
        click.echo(json.dumps([each.to_json() for each in found], indent=2, ensure_ascii=False))
        return
    if not found:
        click.echo(f"There are no models in {constants.HF_HUB_CACHE}. Find one: octabox search WORDS", err=True)
        return
    rows = [
        (
            each.name,
            each.kind,
            format_size(each.size),
            format_size(each.shared) if each.shared else "",
            time.strftime("%Y-%m-%d", time.localtime(each.last_used)),
            ", ".join(each.revisions),
            "yes" if each.complete else f"no: octabox pull {each.name}",
        )
        for each in found
    ]
    headings = ("NAME", "KIND", "SIZE", "SHARED", "LAST USED", "REVISIONS", "COMPLETE")
    total = format_size(sum(each.size for each in found))
    show_table(headings, rows, foot=f"{len(found)} models, {total} in {constants.HF_HUB_CACHE}.")
