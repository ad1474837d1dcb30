"""Tables and fields: formatted by rich on a terminal, plain text in a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import click

#: Separator of columns in a plain table.
GAP = "  "


def show_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, dim: frozenset[str] = frozenset(), foot: str = ""
) -> None:
    """Print a table and a footer; on a terminal, rows whose first cell is in ``dim`` are dimmed."""
    rows = list(rows)
    if sys.stdout.isatty():
        _draw(headings, rows, dim)
    else:
        for line in format_lines([headings, *rows]):
            click.echo(line)
    if foot:
        click.echo()
        click.secho(foot, dim=True)


def format_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def show_title(name: str, text: str = "") -> None:
    """Print a title and a description."""
    click.secho(name, bold=True)
    if text:
        click.echo(text)
    click.echo()


def show_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print pairs of a name and a value, except those without a value."""
    present = [(name, value) for name, value in fields if value]
    width = max((len(name) for name, _ in present), default=0)
    for name, value in present:
        click.secho(name.ljust(width) + GAP, fg="cyan", nl=False)
        click.echo(value)
    click.echo()


def _draw(headings: Sequence[str], rows: Sequence[Sequence[str]], dim: frozenset[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, no_wrap=number == 0, overflow="fold")
    for row in rows:
        # Text, not markup: brackets in an annotation are not a style.
        table.add_row(*(Text(cell) for cell in row), style="dim" if row[0] in dim else None)
    Console(highlight=False).print(table)


def format_size(count: float) -> str:
    """Return a number of bytes with its unit, as disks and the Hub count them."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.{2 if unit == 'GB' else 1}f} {unit}"
    return f"{count:.0f} B"
