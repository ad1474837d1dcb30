"""Exit codes and messages of errors on the command line."""

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
from octabox.hub.responses.fields import printable

#: Exit codes by class; the most specific class applies. 2 is also click's code for usage errors.
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


#: Maximum number of choices to list; for more, the hint has the most similar ones or where they are listed.
MAX_CHOICES = 30


def exit_code(error: OctaboxError) -> int:
    """Return the exit code of an error."""
    return next(EXIT_CODES[cls] for cls in type(error).__mro__ if cls in EXIT_CODES)


def show_error(error: OctaboxError) -> None:
    """Write an error to standard error: the message, the choices and the hint."""
    click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(printable(error.message), err=True)
    if 0 < len(error.choices) <= MAX_CHOICES and not all(choice in str(error) for choice in error.choices):
        click.echo(printable(f"Choices: {', '.join(error.choices)}"), err=True)
    if error.hint:
        click.secho("Hint: ", fg="cyan", nl=False, err=True)
        click.echo(printable(error.hint), err=True)
