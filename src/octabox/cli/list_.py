"""List the available models."""

from __future__ import annotations

import json
from pathlib import Path

import click

from octabox.cli.settings_options import load_settings
from octabox.cli.tables import format_lines
from octabox.config.discovery import describe_emptiness, discover
from octabox.config.names import pipeline_of
from octabox.config.parsing import Entry

#: Maximum number of errors to print; `octabox check` prints all.
MAX_PROBLEMS = 5

_COLUMNS = ("NAME", "SOURCE", "PIPELINE", "DESCRIPTION")


@click.command()
@click.option("--models", type=click.Path(path_type=Path), metavar="DIR", help="Folder of models.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(models: Path | None, as_json: bool) -> None:
    """List the available models."""
    registry = discover(load_settings({"models": models}).models)
    rows: list[tuple[str, str, str | None, str]] = []
    for config in registry.models.values():
        pipeline = pipeline_of(Entry(config, config.path or Path(config.model)))
        rows.append((config.name, config.model, pipeline, config.description))
    for alias in registry.aliases:
        config = registry.named[alias.name]
        pipeline = pipeline_of(Entry(config, config.path or Path(config.model)))
        rows.append((alias.name, config.model, pipeline, f"Alias of {alias.model}. {alias.description}".strip()))
    if as_json:
        keys = [column.lower() for column in _COLUMNS]
        click.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2, ensure_ascii=False))
    else:
        lines = [(name, _shorten_path(source), pipeline or "", text) for name, source, pipeline, text in rows]
        click.echo("\n".join(format_lines([_COLUMNS, *lines])))
    if not registry.folder.is_dir():
        click.echo(f"{describe_emptiness(registry.folder)}.", err=True)
    errors = [problem for problem in registry.problems if problem.severity == "error"]
    for problem in errors[:MAX_PROBLEMS]:
        click.secho(str(problem), fg="yellow", err=True)
    if errors:
        count = f"{len(errors)} error{'' if len(errors) == 1 else 's'}"
        click.echo(f"{count} in {registry.folder}: `octabox check {registry.folder}` lists them.", err=True)


def _shorten_path(source: str) -> str:
    """Return a path relative to the working directory or the home folder."""
    path = Path(source)
    for folder, mark in ((Path.cwd(), ""), (Path.home(), "~/")):
        if path.is_absolute() and path.is_relative_to(folder):
            return mark + str(path.relative_to(folder))
    return source
