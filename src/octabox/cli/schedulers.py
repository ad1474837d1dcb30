"""List the noise schedulers that a model can use, or describe one.

Everything is read from the source of the installed diffusers; nothing is imported.
"""

from __future__ import annotations

import json

import click

from octabox.catalog.describing import described
from octabox.catalog.pipelines import load_catalog
from octabox.cli.pipelines import parameter_row
from octabox.cli.tables import show_facts, show_table, show_title


@click.command("schedulers")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(name: str | None, as_json: bool) -> None:
    """List the noise schedulers that a model can use, or describe one of them: every setting it takes."""
    catalog = load_catalog()
    if name is not None:
        entry = catalog.scheduler(name)
    if as_json:
        shown = described(entry) if name is not None else [described(each) for each in catalog.schedulers.values()]
        click.echo(json.dumps(shown, indent=2 if name else None))
        return
    if name is not None:
        show_title(entry.name, entry.description)
        show_facts([("module", entry.module)])
        show_table(("SETTING", "TYPE", "DEFAULT", "DESCRIPTION"), [parameter_row(each) for each in entry.settings])
        return
    rows = [(each.name, str(len(each.settings)), each.description) for each in catalog.schedulers.values()]
    show_table(("SCHEDULER", "SETTINGS", "DESCRIPTION"), rows, foot=f"{len(rows)} schedulers.")
