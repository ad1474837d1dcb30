"""The command itself: its verbs, its errors and its exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from octabox import errors
from octabox.cli.errors import EXIT_CODES, exit_code
from octabox.cli.main import cli

VERBS = ("check", "list", "pipelines", "ps", "run", "schedulers", "serve", "show", "stop")


def octabox(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a separate process."""
    return subprocess.run([sys.executable, "-m", "octabox", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_help(verb: str) -> None:
    """Each verb is listed with its first sentence, and explains itself."""
    listed = CliRunner().invoke(cli, ["--help"]).output
    result = CliRunner().invoke(cli, [verb, "--help"])

    assert verb in listed
    assert 0 == result.exit_code
    assert len(result.output.splitlines()) > 5


def test_an_error_is_a_sentence_and_a_code() -> None:
    """An error of ours is shown without a traceback, and ends with the exit code of its kind."""
    done = octabox("run", "nobody", "x")

    assert EXIT_CODES[errors.NotFoundError] == done.returncode
    assert "Error: There is no model 'nobody'." in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage_is_told_from_other_errors() -> None:
    """An unknown command ends with click's code for usage errors."""
    assert 2 == octabox("dance").returncode


def all_errors(kind: type[errors.OctaboxError]) -> list[type[errors.OctaboxError]]:
    """Return a class of error and all below it."""
    return [kind, *(each for child in kind.__subclasses__() for each in all_errors(child))]


@pytest.mark.parametrize("kind", all_errors(errors.OctaboxError))
def test_every_error_has_an_exit_code(kind: type[errors.OctaboxError]) -> None:
    """Every class of the tree finds its code; those above decide for those below."""
    error = kind.__new__(kind)

    assert 1 <= exit_code(error) <= 130
