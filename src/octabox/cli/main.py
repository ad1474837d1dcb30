"""The command ``octabox`` and its subcommands, which are imported on use."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from pathlib import Path
from typing import Any

import click

import octabox.cli
from octabox.cli import interruption
from octabox.cli.errors import exit_code, show_error
from octabox.errors import OctaboxError

FOLDER = Path(__file__).parent


class LazyGroup(click.Group):
    """A group whose commands are the modules of this package that define ``command``: ``run.py`` is `octabox run`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Return the names of all commands."""
        modules = (module.name for module in pkgutil.iter_modules(octabox.cli.__path__))
        return sorted(name.removesuffix("_") for name in modules if _defines_command(_parse(name)))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        """Import a command."""
        module = _module_name(cmd_name)
        if cmd_name.endswith("_") or not _defines_command(_parse(module)):
            return None
        command = importlib.import_module(f"octabox.cli.{module}").command
        assert isinstance(command, click.Command)  # noqa: S101 (`command` is a click command in all modules)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, which Ctrl-C ends; click would print an empty line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            interruption.report()
            ctx.exit(interruption.EXIT_CODE)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with the first line of their modules' docstrings, without importing them."""
        rows = [(name, _summary(_parse(_module_name(name)))) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _module_name(command: str) -> str:
    """Return the module of a command, which ends in an underscore if Python uses the name itself."""
    return command if (FOLDER / f"{command}.py").is_file() else f"{command}_"


def _parse(module: str) -> ast.Module:
    """Return the syntax tree of a module of this package; empty if there is none."""
    file = FOLDER / f"{module}.py"
    return ast.parse(file.read_text(encoding="utf-8") if file.is_file() else "")


def _defines_command(tree: ast.Module) -> bool:
    """Return whether a module defines a function named ``command``."""
    return any(isinstance(node, ast.FunctionDef) and node.name == "command" for node in tree.body)


def _summary(tree: ast.Module) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(tree) or "").partition("\n")[0].rstrip(".")


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="octabox")
def cli() -> None:
    """Serve every diffusers pipeline from one program."""


def main() -> None:
    """Run the command line; errors of Octabox are shown without a traceback, each class with its exit code."""
    interruption.install()
    try:
        sys.exit(cli.main(standalone_mode=False))
    except (click.Abort, KeyboardInterrupt):
        interruption.report()
        sys.exit(interruption.EXIT_CODE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OctaboxError as error:
        show_error(error)
        sys.exit(exit_code(error))
