"""The project's commands are in one place, and CI uses no others."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_ci_calls_make_and_nothing_else() -> None:
    """Every command of CI is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))

    assert commands
    assert {command.removeprefix("make ") for command in commands} <= targets


def test_what_is_needed_is_constrained() -> None:
    """Every dependency has a tested version in the constraints."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = {name.lower().replace("_", "-") for name in re.findall(r'^    "([A-Za-z0-9_-]+)>=', project, re.MULTILINE)}
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    tested = {line.partition("==")[0].lower().replace("_", "-") for line in constraints.splitlines()}

    assert set() == needed - tested
