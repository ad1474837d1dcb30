"""The page about exit codes."""

from __future__ import annotations

import re
from pathlib import Path

from octabox.cli.errors import EXIT_CODES
from octabox.cli.interruption import EXIT_CODE

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "exit-codes.md"


def test_the_page_has_all_exit_codes() -> None:
    """Each with the class of its errors, and no other."""
    rows = re.findall(r"^\| (\d+) \| (?:`(\w+)`)?", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert {"": 0, **{cls.__name__: code for cls, code in EXIT_CODES.items()}} == {
        name: int(code) for code, name in rows
    }
    assert EXIT_CODE == max(EXIT_CODES.values())
