"""Generate the page of all packages from their docstrings. Run it as `make docs`."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "octabox"
PAGE = ROOT / "docs" / "architecture" / "packages.md"

HEAD = """# Packages

All packages of `octabox`, with the first sentence of their docstrings. [Architecture](index.md) has the layers and the path of
a request. `make docs` generates this page.

| Package | Subject |
| --- | --- |
"""


def document_packages() -> str:
    """Return the page."""
    inits = sorted(SOURCE.rglob("__init__.py"), key=lambda file: file.parent.parts)
    return HEAD + "".join(_row(file) for file in inits if file.parent != SOURCE)


def _row(file: Path) -> str:
    """Return the row of a package."""
    summary = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    return f"| `{file.parent.relative_to(SOURCE).as_posix()}` | {summary.replace('|', chr(92) + '|')} |\n"


if __name__ == "__main__":
    PAGE.write_text(document_packages(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))
