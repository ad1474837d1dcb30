"""The command ``octabox`` and its subcommands, which are imported on use."""

from __future__ import annotations

import ast
import errno
import importlib
import io
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from octabox.cli import interruption
from octabox.cli.errors import exit_code, show_error
from octabox.errors import GenerationError, OctaboxError

#: Packages with a module for each command, and their folders.
FOLDERS = {"octabox.cli": "", "octabox.cli.hub": "hub", "octabox.cli.cluster": "cluster"}
PACKAGES = {name: Path(__file__).parent / folder for name, folder in FOLDERS.items()}

#: Numbers of errors of a file that takes no more bytes.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class LazyGroup(click.Group):
    """A group whose commands are the modules of `PACKAGES` that define ``command``: ``run.py`` is `octabox run`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Return the names of all commands."""
        files = (file for folder in PACKAGES.values() for file in folder.glob("*.py"))
        return sorted(file.stem.removesuffix("_") for file in files if _defines_command(_parse(file)))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's signature)
        """Import a command."""
        if cmd_name.endswith("_") or (found := _find_module(cmd_name)) is None:
            return None
        command = importlib.import_module(found[0]).command
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
        modules = ((name, _find_module(name)) for name in self.list_commands(ctx))
        rows = [(name, _summary(_parse(found[1]))) for name, found in modules if found]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _find_module(command: str) -> tuple[str, Path] | None:
    """Return the module of a command, which ends in an underscore if Python uses the name itself, and its file."""
    for package, folder in PACKAGES.items():
        for name in (command, f"{command}_"):
            if (file := folder / f"{name}.py").is_file() and _defines_command(_parse(file)):
                return f"{package}.{name}", file
    return None


def _parse(file: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(file.read_text(encoding="utf-8"))


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
    _prepare_streams()
    interruption.install()
    # https://no-color.org; click knows terminals and pipes only. Errors are shown when the context of the command is gone.
    color = False if os.environ.get("NO_COLOR") else None
    with click.Context(cli, info_name="octabox", color=color):
        _run(color=color)


def _prepare_streams() -> None:
    """Let each standard stream be written and read: one that is closed is empty, and takes what nobody reads.

    What the encoding of the terminal cannot have, such as the name of a model, is escaped.
    """
    # In this order each gets the descriptor of the one that is closed, which no other file must have.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8", errors="replace"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _run(*, color: bool | None) -> NoReturn:
    """Run the command line, and exit."""
    try:
        sys.exit(cli.main(standalone_mode=False, color=color))
    except (click.Abort, KeyboardInterrupt):
        interruption.report()
        sys.exit(interruption.EXIT_CODE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OctaboxError as error:
        show_error(error)
        sys.exit(exit_code(error))
    except OSError as error:
        # An error of a file has its path; that of standard output has none.
        if error.filename is not None or error.errno not in _FULL:
            raise
        # Python would try again at the end, and show a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        show_error(
            GenerationError(f"Standard output could not be written: {error.strerror}.", hint="Is the disk full?")
        )
        sys.exit(exit_code(GenerationError("")))
