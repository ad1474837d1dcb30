"""Tables and texts: drawn on a terminal, plain and uncut in a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import click

#: Between the columns of a plain table.
GAP = "  "


def show_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, dim: frozenset[str] = frozenset(), foot: str = ""
) -> None:
    """Write a table, on a terminal with the rows whose first cell is in ``dim`` set back; then a line under it."""
    rows = list(rows)
    if sys.stdout.isatty():
        _draw(headings, rows, dim)
    else:
        for line in plain_lines([headings, *rows]):
            click.echo(line)
    if foot:
        click.echo()
        click.secho(foot, dim=True)


def plain_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with their columns under each other."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def show_title(name: str, text: str = "") -> None:
    """Write what a page is about, and a sentence on it."""
    click.secho(name, bold=True)
    if text:
        click.echo(text)
    click.echo()


def show_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Write pairs of a word and what holds for it, leaving out those of which nothing is known."""
    known = [(word, value) for word, value in facts if value]
    width = max((len(word) for word, _ in known), default=0)
    for word, value in known:
        click.secho(word.ljust(width) + GAP, fg="cyan", nl=False)
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
        # Text, not markup: brackets in an annotation are no style.
        table.add_row(*(Text(cell) for cell in row), style="dim" if row[0] in dim else None)
    Console(highlight=False).print(table)
