"""The options of `octabox run` with the contents of their files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from octabox.cli.main import cli
from octabox.cli.requests.run_options import check_texts
from octabox.cli.terminal.prompt_line import PromptLine
from octabox.errors import InvalidParameterError

#: The word in Latin-1, as Python reads it from a command line.
GREEN = os.fsdecode(b"gr\xfcn")


def refusal(*words: str, text: bytes | None = None) -> str:
    """Return why a command is refused."""
    result = CliRunner(charset="latin1").invoke(cli, ["run", "demo", *words, "--dry-run"], input=text)
    assert isinstance(result.exception, InvalidParameterError), result.exception
    return f"{result.exception.message} {result.exception.hint}"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ((f"a {GREEN}",), "prompt"),
        (("a star", "--negative", GREEN), "negative"),
        (("a star", "-p", f"negative_prompt={GREEN}"), "param"),
        (("a star", "--lora", GREEN), "lora"),
        (("a star", "--style", GREEN), "style"),
        (("a star", "--upscale", f"upscaler={GREEN}"), "upscale"),
    ],
)
def test_a_text_that_is_not_utf8_is_refused(words: tuple[str, ...], name: str) -> None:
    """The option, the byte and the words around it are named, also for a dry run."""
    told = refusal(*words)

    assert f"'{name}' is not text in UTF-8: it has the byte 0xfc in" in told
    assert "gr\ufffdn" in told


def test_a_file_of_prompts_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """With the byte, and the command that converts it."""
    file = tmp_path / "my prompts.txt"
    file.write_bytes(b"a star\na gr\xfcn\n")

    assert f"iconv -f latin1 -t utf-8 '{file}'" in refusal("--prompt-file", str(file))


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    """Names of files are bytes; whether one can be read is another question."""
    check_texts({"prompts": ("gr\u00fcn \U0001f600",), "num_outputs": 3, "seed": None})
    missing = CliRunner().invoke(cli, ["run", "demo", "a star", "--image", str(tmp_path / GREEN), "--dry-run"])

    assert "cannot be read" in str(missing.exception)


def test_a_line_that_is_not_utf8_is_refused() -> None:
    """Before a setting is kept that no prompt could be run with."""
    line = PromptLine({"params": (), "model": "demo"}, lambda **_: pytest.fail("It runs."), ())
    for text in (f"a {GREEN}", f"/set negative {GREEN}", f"/lora {GREEN}"):
        with pytest.raises(InvalidParameterError, match="is not text in UTF-8"):
            line.handle(text)
    assert () == line.options["params"]
