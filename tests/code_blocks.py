"""The code blocks of the documentation, and how tests run and check them.

A block that a test cannot run has the comment `<!-- not run: REASON -->` in the line before it; its syntax is checked. A block
with a title (```yaml title="models/x.yaml") is written to that file.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from octabox.cli.main import cli

ROOT = Path(__file__).parents[1]

#: Address of the server in the documentation.
DOCUMENTED = "http://127.0.0.1:8080"

FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+?) -->\n)?```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)

#: Characters that separate commands of a shell script.
SEPARATORS = "();<>|&\n"


@dataclass(frozen=True)
class Block:
    """A fenced code block.

    Args:
        page: File that the block is in.
        line: Line of its fence, from 1.
        language: Language of the fence.
        text: Content.
        title: File that the content is for, relative to the working folder.
        reason: Why the block is not run; empty for a block that is run.
    """

    page: Path
    line: int
    language: str
    text: str
    title: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return the code blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start()) + 1,
            found["language"],
            found["text"],
            found["title"] or "",
            found["reason"] or "",
        )
        for found in FENCE.finditer(text)
    ]


def run(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a folder, with the octabox and the python of this environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path, "NO_PROXY": "127.0.0.1", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done


def run_block(block: Block, folder: Path, address: str) -> str:
    """Run a block, or write it to the file that its title names, and return what it printed."""
    text = block.text.replace(DOCUMENTED, address)
    if block.title:
        file = folder / block.title
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    if block.language == "bash":
        return run(text, folder, OCTABOX_URL=address).stdout
    if block.language == "python":
        file = folder / (block.title or "block.py")
        file.write_text(text, encoding="utf-8")
        return run(f"python {shlex.quote(str(file))}", folder, OCTABOX_URL=address).stdout
    return ""


def commands_of(script: str) -> Iterator[list[str]]:
    """Yield the commands of a shell script as words."""
    without_comments = re.sub(r"(^|\s)#.*$", r"\1", script, flags=re.MULTILINE).replace("\\\n", " ")
    words = shlex.shlex(without_comments, posix=True, punctuation_chars=SEPARATORS)
    words.whitespace, words.whitespace_split, words.commenters = " \t\r", True, ""
    command: list[str] = []
    for word in words:
        if set(word) <= set(SEPARATORS):
            yield from [command] if command else []
            command = []
        else:
            command.append(word)
    yield from [command] if command else []


def unknown_options(words: list[str]) -> list[str]:
    """Return the words of an octabox command that are not an option of its verb."""
    command = cli.get_command(None, words[0])  # type: ignore[arg-type] # the group does not read its context
    assert command is not None, f"there is no verb {words[0]!r}"
    if isinstance(command, click.Group):
        command = command.commands[words[1]]
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    given = [word.partition("=")[0] for word in words[1:] if word.startswith("-") and not word[1:2].isdigit()]
    return [word for word in given if word not in {*known, "-h", "--help"}]
