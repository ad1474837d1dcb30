"""The command ``octabox`` and its verbs, each loaded only when it is asked for."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from importlib.util import find_spec
from pathlib import Path

import click

import octabox.cli
from octabox.cli.errors import exit_code, show
from octabox.errors import OctaboxError

#: Files of this folder that are no verbs.
NOT_VERBS = {"main", "errors", "tables", "client", "outcome", "wishes"}


class Verbs(click.Group):
    """A group whose verbs are the files of this folder: ``run.py`` holds ``command``, the verb ``run``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Return the names of all verbs."""
        found = (module.name for module in pkgutil.iter_modules(octabox.cli.__path__))
        return sorted(name.removesuffix("_") for name in found if name not in NOT_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a verb."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(_module(cmd_name)).command
        assert isinstance(command, click.Command)  # noqa: S101 (a verb's file that holds something else is our mistake)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs with the first sentence of each one's file, which is read but not run."""
        rows = [(name, _summary(name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _module(verb: str) -> str:
    """Return the module of a verb; one whose name Python keeps for itself ends in an underscore."""
    plain = f"octabox.cli.{verb}"
    return plain if find_spec(plain) else f"{plain}_"


def _summary(verb: str) -> str:
    """Return the first line of a verb's docstring without running its file."""
    spec = find_spec(_module(verb))
    if spec is None or spec.origin is None:
        return ""
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="octabox")
def cli() -> None:
    """Serve every diffusers pipeline from one program."""


def main() -> None:
    """Run the command line; an error of ours is shown as a sentence and a hint, and ends with its own exit code."""
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OctaboxError as error:
        show(error)
        sys.exit(exit_code(error))
