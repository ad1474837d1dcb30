"""The project's commands are in one place, and CI uses no others."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_ci_calls_make_and_nothing_else() -> None:
    """Every command of CI is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

    assert commands
    assert {command.removeprefix("make ") for command in commands} <= targets


def test_ci_runs_each_test_once() -> None:
    """CI runs the tests, and of those that take long the ones that it has time for; none of them twice."""
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()

    assert ["make test", "make test-slow"] == [
        each for each in commands if each.startswith(("make test", "make check"))
    ]


def test_help_tells_every_command() -> None:
    """Each target that a person would call stands in the list, with its words."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert phony
    assert phony[1].split() == re.findall(r"^  make ([a-z-]+) +[A-Z].*\.$", told, re.MULTILINE)


def test_what_is_needed_is_constrained() -> None:
    """Every dependency has a tested version in the constraints."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = {name.lower().replace("_", "-") for name in re.findall(r'^    "([A-Za-z0-9_-]+)>=', project, re.MULTILINE)}
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    tested = {line.partition("==")[0].lower().replace("_", "-") for line in constraints.splitlines()}

    assert set() == needed - tested
