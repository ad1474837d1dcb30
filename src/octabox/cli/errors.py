"""How the command line shows an error, and with which exit code it ends: the one table of this frontend."""

from __future__ import annotations

import click

from octabox.errors import (
    CapacityError,
    ConfigError,
    GenerationCancelledError,
    GenerationError,
    LoadError,
    NotFoundError,
    OctaboxError,
    RequestError,
    SecurityError,
)

#: Exit codes by class; the most special class that an error belongs to decides. 2 is also click's own, for wrong usage.
EXIT_CODES: dict[type[OctaboxError], int] = {
    OctaboxError: 1,
    RequestError: 2,
    NotFoundError: 3,
    ConfigError: 4,
    LoadError: 5,
    GenerationError: 6,
    CapacityError: 7,
    SecurityError: 8,
    GenerationCancelledError: 130,
}


#: Choices that are still read; of more, the hint tells the nearest or where they are listed.
FEW = 30


def exit_code(error: OctaboxError) -> int:
    """Return the exit code of an error."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


def show(error: OctaboxError) -> None:
    """Write an error to the terminal: what happened, what would have been accepted, and what to do."""
    click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(error.message, err=True)
    if 0 < len(error.choices) <= FEW and not all(choice in str(error) for choice in error.choices):
        click.echo(f"Choices: {', '.join(error.choices)}", err=True)
    if error.hint:
        click.secho("Hint: ", fg="cyan", nl=False, err=True)
        click.echo(error.hint, err=True)
