"""Finding the ranges of numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from octabox.catalog.entries import Parameter
from octabox.catalog.ranges import UNBOUNDED, Range
from octabox.catalog.reading.checks.ranges import with_ranges
from octabox.catalog.reading.source import SourceTree

#: Conditions of a check that raises, with the ranges that they leave.
CHECKS = {
    "strength < 0 or strength > 1": Range(0, 1),
    "not 0 <= strength <= 1": Range(0, 1),
    "strength is not None and strength <= 0": Range(exclusive_minimum=0),
    "strength >= 1": Range(exclusive_maximum=1),
    "1 < strength": Range(maximum=1),
    "not (strength >= 0 and strength <= 2)": Range(0, 2),
    "block_state.strength < 0.5": Range(minimum=0.5),
    # None of these refuses a number by itself.
    "strength < 0 and other > 1": UNBOUNDED,
    "strength < other": UNBOUNDED,
    "self.strength < 0": UNBOUNDED,
    "strength == 0": UNBOUNDED,
    "len(strength) < 1": UNBOUNDED,
}


def read(folder: Path, body: str, parameter: Parameter) -> Range:
    """Return the range of a parameter in a class with this check."""
    text = f"class Brush:\n    def check_inputs(self, strength, other):\n        {body}\n"
    (folder / "brush.py").write_text(text, encoding="utf-8")
    tree = SourceTree("brushes", folder)
    owner = tree.find("Brush")
    assert owner is not None
    return with_ranges(tree, owner, [parameter])[0].range


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_makes_a_range(check: str, tmp_path: Path) -> None:
    """What raises an error by itself bounds a number."""
    body = f"if {check}:\n            raise ValueError"

    assert CHECKS[check] == read(tmp_path, body, Parameter("strength", kind="number"))


def test_warnings_and_texts_have_no_range(tmp_path: Path) -> None:
    """A warning refuses nothing, and a text has no bounds."""
    warns, raises = (f"if strength < 0:\n            {line}" for line in ("logger.warning('')", "raise ValueError"))

    assert UNBOUNDED == read(tmp_path, warns, Parameter("strength", kind="number"))
    assert UNBOUNDED == read(tmp_path, raises, Parameter("strength", kind="text"))


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("Must be between 0 and 1.", Range(0, 1, documented=True)),
        ("How much. Must be a value between `0.5` and `2`", Range(0.5, 2, documented=True)),
        ("Must be between 0 and the number of steps.", UNBOUNDED),
        ("Between 0 and 1 it is weak.", UNBOUNDED),
    ],
)
def test_a_description_may_state_both_bounds(tmp_path: Path, description: str, expected: Range) -> None:
    """Where no check of the class has bounds, those of its documentation count."""
    assert expected == read(tmp_path, "pass", Parameter("strength", kind="number", description=description))
