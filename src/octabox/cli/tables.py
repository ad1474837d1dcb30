"""Tables and fields: formatted by rich on a terminal, plain text in a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import click

from octabox.hub.responses.fields import printable

#: Separator of columns in a plain table.
GAP = "  "

#: Maximum length of a word that is not broken in a table.
MAX_WORD = 32


def show_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, dim: frozenset[str] = frozenset(), foot: str = ""
) -> None:
    """Print a table and a footer.

    On a terminal, rows whose first cell is in ``dim`` are dimmed, and a table that is too wide is printed as records: the first
    cell of each row, and a line for each of the others.
    """
    rows = [tuple(map(printable, row)) for row in rows]
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
    rows = [tuple(map(printable, row)) for row in rows]
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
    present = [(name, printable(value)) for name, value in fields if value]
    width = max((len(name) for name, _ in present), default=0)
    for name, value in present:
        click.secho(name.ljust(width) + GAP, fg="cyan", nl=False)
        click.echo(value)
    click.echo()


def _draw(headings: Sequence[str], rows: Sequence[Sequence[str]], dim: frozenset[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    widths = fit_columns([headings, *rows], console.width)
    if widths is None:
        _draw_records(headings, rows, dim)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading, width in zip(headings, widths, strict=True):
        table.add_column(heading, width=width, overflow="fold")
    for row in rows:
        # Text, not markup: brackets in an annotation are not a style.
        table.add_row(*(Text(cell) for cell in row), style="dim" if row[0] in dim else None)
    console.print(table)


def fit_columns(rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Return the width of each column so that a table fits and no word is broken; None if that is not possible.

    The first column is not folded. Words of more than `MAX_WORD` characters, such as paths, may be broken.

    Args:
        rows: The cells, with the headings.
        width: Width of the terminal.
    """
    columns = [[cell for cell in column if cell] or [""] for column in zip(*rows, strict=True)]
    widths = [max(cell_width(line) for cell in column for line in cell.split("\n")) for column in columns]
    least = [
        min(MAX_WORD, max(cell_width(word) for cell in column for word in cell.split() or [""])) for column in columns
    ]
    least[0] = widths[0]
    room = width - len(GAP) // 2 * (len(columns) - 1)
    if sum(least) > room:
        return None
    while sum(widths) > room:
        slack = [current - minimum for current, minimum in zip(widths, least, strict=True)]
        # The widest column that can be narrower, so that none is much narrower than the others.
        widest = max((number for number in range(len(widths)) if slack[number] > 0), key=lambda each: widths[each])
        widths[widest] -= 1
    return widths


def cell_width(text: str) -> int:
    """Return the columns that a text takes on a terminal, where some characters take two."""
    from rich.cells import cell_len

    return cell_len(text)


def _draw_records(headings: Sequence[str], rows: Sequence[Sequence[str]], dim: frozenset[str]) -> None:
    """Print each row as lines."""
    width = max(map(len, headings))
    for row in rows:
        click.secho(row[0], bold=True, dim=row[0] in dim or None)
        for heading, cell in zip(headings[1:], row[1:], strict=True):
            if cell:
                click.secho(f"{GAP}{heading.ljust(width)}{GAP}", fg="cyan", nl=False)
                click.echo(cell)


def format_size(count: float) -> str:
    """Return a number of bytes with its unit, as disks and the Hub count them."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.{2 if unit == 'GB' else 1}f} {unit}"
    return f"{count:.0f} B"
