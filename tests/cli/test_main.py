"""The command itself: its verbs, its errors and its exit codes."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from octabox import demo, errors
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


def in_terminal(*arguments: str, **environ: str) -> str:
    """Return what the command writes to a terminal."""
    primary, secondary = pty.openpty()
    words = [sys.executable, "-m", "octabox", *arguments]
    environ = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "", **environ}
    subprocess.run(words, stdout=secondary, stderr=secondary, env=environ, check=False)
    os.close(secondary)
    output = b""
    with contextlib.suppress(OSError):  # A terminal without a process that has it open ends with an error.
        while data := os.read(primary, 65536):
            output += data
    os.close(primary)
    return output.decode()


def test_no_color_is_for_all_that_is_written() -> None:
    """Errors and tables have colours on a terminal, and none where a variable says so."""
    missing = ("ps", "--url", "http://127.0.0.1:9")
    plain = "Error: No server responds at http://127.0.0.1:9"

    assert "\x1b[31m\x1b[1mError: \x1b[0mNo server" in in_terminal(*missing)
    assert in_terminal(*missing, NO_COLOR="1").startswith(plain)
    assert "\x1b[3" in in_terminal("show", "demo")
    assert "\x1b[3" not in in_terminal("show", "demo", NO_COLOR="1")


def all_errors(kind: type[errors.OctaboxError]) -> list[type[errors.OctaboxError]]:
    """Return a class of error and all below it."""
    return [kind, *(each for child in kind.__subclasses__() for each in all_errors(child))]


@pytest.mark.parametrize("kind", all_errors(errors.OctaboxError))
def test_every_error_has_an_exit_code(kind: type[errors.OctaboxError]) -> None:
    """Every class of the tree finds its code; those above decide for those below."""
    error = kind.__new__(kind)

    assert 1 <= exit_code(error) <= 130


@pytest.mark.parametrize("words", [("list",), ("list", "--json"), ("pipelines", "--json")])
def test_a_full_disk_behind_standard_output_is_a_sentence(words: tuple[str, ...]) -> None:
    """There is no traceback, also not at the end of Python."""
    with open("/dev/full", "w") as full:  # noqa: PTH123 (a device)
        command = [sys.executable, "-m", "octabox", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert exit_code(errors.GenerationError("")) == done.returncode
    assert "Error: Standard output could not be written: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


#: Runs the help of each verb, and of the program, with a standard stream that is closed; prints what is no success.
EACH_VERB = """
import io, sys
from octabox.cli import main
out, failed = sys.stderr, []
for verb in ["", *main.cli.list_commands(None)]:
    sys.argv = ["octabox", *filter(None, [verb]), "--help"]
    sys.stdin = sys.stdout = sys.stderr = None
    try:
        main.main()
    except SystemExit as end:
        if end.code:
            failed.append(verb)
    except BaseException as error:
        failed.append(f"{verb}: {error!r}")
    sys.stdout.close()
print(failed, file=out)
"""


def test_each_verb_runs_without_standard_streams() -> None:
    """As a service does that closes them."""
    done = subprocess.run([sys.executable, "-c", EACH_VERB], capture_output=True, text=True, check=True)

    assert "[]\n" == done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["list", "run nobody x", "dance"])
def test_a_stream_that_is_closed_is_as_none(closed: str, words: str, tmp_path: Path) -> None:
    """The exit code and what the other streams have are the same, and no traceback is anywhere."""
    command = f"'{sys.executable}' -m octabox {words}"
    usual, bare = (
        subprocess.run(["sh", "-c", each], capture_output=True, text=True, check=False, cwd=tmp_path)
        for each in (command, f"{command} {closed}")
    )

    assert usual.returncode == bare.returncode
    assert ("" if closed[-4:] == "2>&-" else usual.stderr) == bare.stderr
    assert ("" if ">&-" in closed.replace("2>&-", "") else usual.stdout) == bare.stdout


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8"])
def test_a_name_that_the_terminal_cannot_show(encoding: str, tmp_path: Path) -> None:
    """It is escaped, in tables, in JSON and in errors."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.yaml").write_text(f"name: \u6a21\nmodel: {demo.FOLDER}\n", encoding="utf-8")
    environ = {**os.environ, "PYTHONIOENCODING": encoding}
    for words in (["list"], ["list", "--json"], ["show", "\u6a21"]):
        command = [sys.executable, "-m", "octabox", *words, "--models", "models"]
        done = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path, env=environ)

        assert (0, b"") == (done.returncode, done.stderr)
        assert ("\u6a21" if encoding == "utf-8" else "\\u6a21") in done.stdout.decode(encoding)
