"""Code that tests, tools and documents keep as text imports names that exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: An import of names of Octabox in one line.
IMPORT = re.compile(r"^[ \t]*from (octabox[\w.]*) import ([\w, ]+?)(?: +#.*)?$", re.MULTILINE)

FILES = [
    file
    for folder in ("tests", "tools", "benchmarks", "docs")
    for file in sorted((ROOT / folder).rglob("*"))
    if file.suffix in (".py", ".md", ".yaml") and IMPORT.search(file.read_text(encoding="utf-8"))
]


def missing(module: str, names: str) -> list[str]:
    """Return the names that a module neither defines nor has as modules of its own."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return [module]
    source = Path(spec.origin).read_text(encoding="utf-8")
    folder = Path(spec.origin).parent
    words = [name.split()[0] for name in names.split(",") if name.strip()]
    return [
        f"{module}.{word}"
        for word in words
        if not re.search(rf"\b{word}\b", source)
        and not (folder / word).is_dir()
        and not (folder / f"{word}.py").is_file()
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imported_names_exist(file: Path) -> None:
    """Code in a string is not checked by a linter, and runs in a process that may belong to a slow test."""
    found = [
        each for module, names in IMPORT.findall(file.read_text(encoding="utf-8")) for each in missing(module, names)
    ]

    assert [] == found
