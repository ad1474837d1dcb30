"""Print the constraints of an installation: the versions that the tests run with, and torch as it is installed.

Pip keeps an installed torch then, with the build that fits the machine, and takes the torchvision that fits it. Without torch,
or with one that is older than Octabox needs, its tested version is printed. The interpreter is that of the environment to
install into, which has no package yet:

    .venv/bin/python tools/tested_versions.py > .venv/constraints.txt
    .venv/bin/python -m pip install --constraint .venv/constraints.txt .
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: The line of torch in the tested versions.
TESTED = re.compile(r"^torch==.*$", re.MULTILINE)


def constraints(tested: str, project: str, installed: str | None) -> str:
    """Return the lines of the constraints.

    Args:
        tested: Content of ``constraints.txt``.
        project: Content of ``pyproject.toml``, which has the oldest version of torch that Octabox can use.
        installed: Version of the installed torch, such as ``2.9.1+rocm6.4``; None if there is none.
    """
    required = re.search(r'"torch>=([\d.]+)"', project)
    assert required, "pyproject.toml has no range of torch"
    if installed is None or _release(installed) < _release(required[1]):
        return tested
    return TESTED.sub(f"torch=={installed}", tested)


def _release(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, without those of its build."""
    return tuple(map(int, re.findall(r"\d+", text.partition("+")[0])))


def main() -> None:
    """Print the constraints of the environment of this interpreter."""
    try:
        installed = version("torch")
    except PackageNotFoundError:
        installed = None
    tested, project = ((ROOT / name).read_text(encoding="utf-8") for name in ("constraints.txt", "pyproject.toml"))
    print(constraints(tested, project, installed), end="")


if __name__ == "__main__":
    main()
