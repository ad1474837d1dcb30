"""The lines that install packages, in the documentation and in the files that build environments."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from code_blocks import ROOT

#: Files that a person follows or runs to install Octabox.
FILES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile", "backends/localai/Makefile")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy").rglob("Dockerfile")),
]

#: A command that installs packages: to the end of its line, of its part of the line, or of its inline code.
INSTALL = re.compile(r"(?:pip|PIP\)|runpip octabox|pipx) install [^`\n;|&]*")

#: Packages that an index of torch has.
OF_TORCH = {"torch", "torchvision", "torchaudio"}

#: Options with a value.
VALUES = {"--index-url", "--extra-index-url", "--constraint", "-c"}


def commands(file: Path) -> list[str]:
    """Return the commands of a file that install packages."""
    text = re.sub(r"\$\(grep '\^(\w+)==' constraints\.txt\)", r"\1", file.read_text(encoding="utf-8"))
    return [found.rstrip("\\ ") for found in INSTALL.findall(text)]


def packages(command: str) -> set[str]:
    """Return the names of the packages that a command installs."""
    words = [word.strip("\"'") for word in command.partition(" install ")[2].split()]
    values = {after for word, after in pairwise(words) if word in VALUES}
    named = (word for word in words if word not in values and not word.startswith(("-", "$(PIP_FLAGS")))
    return {re.split(r"[=<>\[]", word)[0] for word in named}


def test_commands_are_found() -> None:
    """In pages, Makefiles and Dockerfiles."""
    assert {"install.md", "README.md", "Makefile", "Dockerfile"} <= {file.name for file in FILES if commands(file)}
    assert {"torch", "numpy"} == packages('pip install --index-url "$X" $(PIP_FLAGS) "torch>=2.7" numpy[x] --no-deps')


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_torch_is_of_one_index(file: Path) -> None:
    """Of two indexes pip takes the highest version of torch, so that both are given only where it is constrained to one.

    From an index alone only the packages of torch are installed; it does not have others in the versions that they need.
    """
    for command in commands(file):
        if "--index-url" in command.split():
            assert packages(command) <= OF_TORCH, command
            assert "--extra-index-url" not in command, command
        if "--extra-index-url" in command:
            assert re.search(r"--constraint (tested\.txt|\$\(VENV\)/constraints\.txt)", command), command


@pytest.mark.parametrize("file", [each for each in FILES if each.suffix == ".md"], ids=lambda file: file.name)
def test_companions_of_torch_are_installed_with_it(file: Path) -> None:
    """A torch of an index of its own would get the torchvision of another one with the extras."""
    for command in commands(file):
        if "--index-url" in command:
            assert OF_TORCH == packages(command), command
