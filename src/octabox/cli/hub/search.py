"""Search models on the Hub.

Each result shows what it is, the size of what would be downloaded, and whether Octabox can use it and it fits into the memory
of this machine. Repositories of single files, LoRAs and embeddings are found too.
"""

from __future__ import annotations

import json
from typing import Any

import click


@click.command("search", help=__doc__)
@click.argument("words", nargs=-1)
@click.option("--task", help="Task, such as text-to-image.")
@click.option("--author", help="User or organization.")
@click.option(
    "--sort",
    type=click.Choice(("downloads", "likes", "updated", "size")),
    default="downloads",
    show_default=True,
    help="Order; size compares the most downloaded results only, at least 100.",
)
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Maximum number of results.")
@click.option("--gated/--no-gated", default=None, help="Only models that require an agreement, or only others.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(words: tuple[str, ...], *, as_json: bool, **options: Any) -> None:
    """Print the models that are found."""
    from octabox.cli.output import show_status
    from octabox.cli.pipelines import configured_catalog
    from octabox.cli.tables import show_table
    from octabox.hub.browsing.memory import machine_memory
    from octabox.hub.browsing.search import Query, search_models

    query = Query(" ".join(words), **options)
    with show_status("searching"):
        pipelines = configured_catalog().pipelines
        found = search_models(query, machine_memory(), lambda name: name in pipelines)
    if as_json:
        click.echo(json.dumps([each.to_json() for each in found], indent=2, ensure_ascii=False))
        return
    if not found:
        click.echo("No model was found. Use fewer words, or another --task.", err=True)
        return
    if query.sort == "size":
        click.echo(f"The largest of the {query.compared} most downloaded models that match.", err=True)
    headings = ("NAME", "TASK", "KIND", "SIZE", "LICENCE", "GATED", "DOWNLOADS", "UPDATED", "SERVED", "FITS")
    show_table(
        headings,
        [_row(each) for each in found],
        foot="`octabox inspect NAME` shows one, `octabox pull NAME` downloads it.",
    )


def _row(model: Any) -> tuple[str, ...]:
    """Return a model as a row of the table."""
    from octabox.cli.tables import format_size

    served = "?" if model.served is None else "yes" if model.served else "no"
    several = f" of {len(model.choices)} files" if model.choices else ""
    return (
        model.name,
        model.task or "",
        model.pipeline or model.kind or "",
        # The code of an error in one word.
        model.error.replace("_", "-") if model.error else format_size(model.size) + several,
        model.licence or "",
        "yes" if model.gated else "",
        str(model.downloads),
        model.updated or "",
        served,
        model.fits or "?",
    )
