"""List the models that can be asked for."""

from __future__ import annotations

import json
from pathlib import Path

import click

from octabox.config.discovery import discover
from octabox.config.names import pipeline_of
from octabox.config.parsing import Entry
from octabox.config.settings import Settings

_COLUMNS = ("NAME", "SOURCE", "PIPELINE", "DESCRIPTION")


@click.command()
@click.option("--models", type=click.Path(path_type=Path), metavar="DIR", help="Folder of models.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(models: Path | None, as_json: bool) -> None:
    """List the models that can be asked for."""
    registry = discover(Settings.load({"models": models}).models)
    rows = []
    for config in registry.models.values():
        pipeline = pipeline_of(Entry(config, config.path or Path(config.model)))
        rows.append((config.name, config.model, pipeline, config.description))
    if as_json:
        keys = [column.lower() for column in _COLUMNS]
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2, ensure_ascii=False))
    else:
        click.echo(
            table([_COLUMNS, *((name, _short(source), pipeline or "", text) for name, source, pipeline, text in rows)])
        )
    errors = [problem for problem in registry.problems if problem.severity == "error"]
    if errors:
        click.echo(f"{len(errors)} wrong in {registry.folder}: `octabox check {registry.folder}` says what.", err=True)


def table(rows: list[tuple[str, ...]]) -> str:
    """Set rows in columns as wide as they need."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _short(source: str) -> str:
    """Show a path below this folder or the home folder without them."""
    path = Path(source)
    for folder, mark in ((Path.cwd(), ""), (Path.home(), "~/")):
        if path.is_absolute() and path.is_relative_to(folder):
            return mark + str(path.relative_to(folder))
    return source
