"""List the pipelines that can be served, or describe one.

Everything is read from the source of the installed diffusers; nothing is imported, and no model is needed.
"""

from __future__ import annotations

import json

import click

from octabox.catalog.entries import Parameter, PipelineEntry, described
from octabox.catalog.pipelines import Catalog, load_catalog
from octabox.cli.tables import show_facts, show_table, show_title


@click.command("pipelines")
@click.argument("name", required=False)
@click.option("--task", help="Only those that serve this task, the plainest first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(name: str | None, task: str | None, as_json: bool) -> None:
    """List the pipelines that can be served, or describe one of them: its tasks, parts and parameters."""
    catalog = load_catalog()
    if name is not None:
        entry = catalog.pipeline(name)
        if as_json:
            click.echo(json.dumps(described(entry), indent=2))
        else:
            _show_one(catalog, entry)
        return
    entries = catalog.ranking(catalog.task(task)) if task else list(catalog.pipelines.values())
    if as_json:
        click.echo(json.dumps([described(entry) for entry in entries]))
    else:
        _show_all(entries)


def _show_all(entries: list[PipelineEntry]) -> None:
    deprecated = frozenset(entry.name for entry in entries if entry.deprecated)
    rows = [(entry.name, ", ".join(entry.tasks), entry.output_kind or "", _inputs(entry)) for entry in entries]
    foot = f"{len(entries)} pipelines, {len(deprecated)} of them deprecated in diffusers."
    show_table(("PIPELINE", "TASKS", "OUTPUT", "MEDIA IN (? = optional)"), rows, dim=deprecated, foot=foot)


def _inputs(entry: PipelineEntry) -> str:
    return ", ".join(f"{parameter.name}{'' if parameter.required else '?'}" for parameter in entry.media())


def _show_one(catalog: Catalog, entry: PipelineEntry) -> None:
    show_title(entry.name, entry.description)
    siblings = [f"{other.name} ({', '.join(other.tasks)})" for other in catalog.siblings(entry.name)]
    show_facts(
        [
            ("tasks", ", ".join(entry.tasks)),
            ("output", ", ".join(f"{field.name} ({field.kind})" for field in entry.outputs)),
            ("family", entry.family),
            ("siblings", ", ".join(siblings)),
            ("components", ", ".join(f"{part.name}{'?' if part.optional else ''}" for part in entry.components)),
            ("needs", "; ".join(" or ".join(group) for group in entry.one_of)),
            ("module", entry.module),
            ("status", "deprecated in diffusers" if entry.deprecated else ""),
        ]
    )
    show_table(("PARAMETER", "TYPE", "DEFAULT", "DESCRIPTION"), [parameter_row(each) for each in entry.parameters])


def parameter_row(parameter: Parameter) -> tuple[str, str, str, str]:
    """Return a parameter as a row of a table."""
    default = parameter.default if not parameter.literal else json.dumps(parameter.default)
    return (
        parameter.name,
        parameter.annotation,
        "required" if parameter.required else str(default),
        parameter.description,
    )
