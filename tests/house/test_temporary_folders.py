"""Temporary folders are made in one way, so that those of killed processes are found."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "octabox"
OWNER = "security/temporary_folder.py"
FOLDERS = {"mkdtemp", "TemporaryDirectory"}


def makes_folder(file: Path) -> bool:
    """Return whether a file uses a function of `tempfile` that makes a folder, by whatever import."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imported = (node.names for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return bool(FOLDERS & (names | {alias.name for each in imported for alias in each}))


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: file.relative_to(SOURCE).as_posix())
def test_only_one_file_makes_temporary_folders(file: Path) -> None:
    """Every other one uses `TemporaryFolder`, whose folders are locked, and swept at the next start."""
    assert makes_folder(file) == (file.relative_to(SOURCE).as_posix() == OWNER)
