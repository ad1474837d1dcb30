"""Commands and flags that messages and pages name exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from code_blocks import ROOT, commands_of, unknown_options
from octabox.cli.main import cli

SOURCES = sorted((ROOT / "src" / "octabox").rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]

#: A command in backticks, and a flag outside of them.
COMMAND = re.compile(r"`(octabox [^`]+)`")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def text_of(node: ast.expr) -> str:
    """Return the text that an expression makes, with `X` in place of each value; nothing for parts that are no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.FormattedValue):
        return "X"
    return "".join(text_of(each) for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr))


def texts(file: Path) -> Iterator[str]:
    """Yield the texts of a source file, docstrings among them."""
    inner: set[int] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.JoinedStr):
            inner.update(map(id, ast.walk(node)))
            yield text_of(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value


def hints(file: Path) -> Iterator[str]:
    """Yield the hints of errors in a source file."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.keyword) and node.arg == "hint":
            yield text_of(node.value)
        elif isinstance(node, (ast.Assign, ast.AugAssign)):
            names = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(name, ast.Name) and name.id == "hint" for name in names):
                yield text_of(node.value)


def all_options(command: click.Command) -> set[str]:
    """Return the options of a command and of its subcommands."""
    children = command.list_commands(click.Context(command)) if isinstance(command, click.Group) else []
    found = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    assert isinstance(command, click.Group) or not children
    for name in children:
        child = command.get_command(click.Context(command), name)  # type: ignore[attr-defined] # it is a group
        assert child is not None
        found |= all_options(child)
    return found


def faults(command: str) -> list[str]:
    """Return what is wrong with a command in a text: its verb, or options that it does not have."""
    found = []
    for words in commands_of(command.replace("[", "").replace("]", "").replace("'", "")):
        # `octabox COMMAND` stands for each verb.
        if words[0] == "octabox" and len(words) > 1 and not words[1].startswith("-") and words[1] != "COMMAND":
            verb = cli.get_command(None, words[1])  # type: ignore[arg-type] # the group does not read its context
            named = isinstance(verb, click.Group) and (len(words) < 3 or words[2] in verb.commands)
            if verb is None or (isinstance(verb, click.Group) and not named):
                found.append(" ".join(words))
            elif not isinstance(verb, click.Group) or len(words) > 2:
                found += unknown_options(words[1:])
    return found


def test_a_wrong_command_is_found() -> None:
    """By its verb and by its options."""
    assert ["octabox nosuch X"] == faults("octabox nosuch X")
    assert ["--log-level"] == faults("octabox run X --log-level debug")
    assert [] == faults("octabox serve --log-level debug")
    assert ["octabox cluster nosuch"] == faults("octabox cluster nosuch")


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_commands_of_pages_exist(file: Path) -> None:
    """Each command in backticks has an existing verb and options of it."""
    found = COMMAND.findall(file.read_text(encoding="utf-8"))

    assert [] == [(each, wrong) for each in found if (wrong := faults(each))]


def test_commands_of_messages_exist() -> None:
    """And those of docstrings, which are the help of verbs."""
    found = [(file.name, each) for file in SOURCES for text in texts(file) for each in COMMAND.findall(text)]

    assert len(found) > 50
    assert [] == [(name, each, wrong) for name, each in found if (wrong := faults(each))]


def test_hints_are_found() -> None:
    """In arguments and in variables, with the values of formatted ones."""
    found = {hint for file in SOURCES for hint in hints(file)}

    assert any("`octabox stop MODEL`" in each for each in found)
    assert any("`octabox show X`" in each for each in found)
    assert len(found) > 300


def test_flags_of_hints_exist() -> None:
    """A flag without its command is one that some command has; one in backticks names its command."""
    known = all_options(cli)

    for hint in (hint for file in SOURCES for hint in hints(file)):
        outside = re.sub(r"`[^`]*`", "", hint)
        assert set(FLAG.findall(outside)) <= known, hint
        assert not re.search(r"`--", hint), hint
