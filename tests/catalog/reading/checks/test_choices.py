"""Finding the words that a parameter takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from octabox.catalog.entries import Parameter
from octabox.catalog.pipelines import Catalog
from octabox.catalog.reading.checks.choices import with_choices
from octabox.catalog.reading.source import SourceTree
from octabox.catalog.signature import check_value, json_schema
from octabox.errors import InvalidParameterError


@pytest.mark.parametrize(
    ("check", "choices"),
    [
        ('if mode not in ["wet", "dry"]:\n            raise ValueError', ("wet", "dry")),
        ('if mode not in {"wet", "dry", "damp"}:\n            raise ValueError', ("damp", "dry", "wet")),
        ("if mode not in MODES:\n            raise ValueError", ("oil", "ink")),
        ("if mode not in self.modes:\n            raise ValueError", ("big", "small")),
        ('if mode not in ["wet", "dry"]:\n            logger.warning("")', ()),
        ("if mode not in [1, 2]:\n            raise ValueError", ()),
        ("if mode not in modes():\n            raise ValueError", ()),
        ('if other not in ["wet", "dry"]:\n            raise ValueError', ()),
    ],
)
def test_a_check_counts_choices(check: str, choices: tuple[str, ...], tmp_path: Path) -> None:
    """The words without which a check raises are all that a parameter takes; numbers and warnings are no such list."""
    text = 'MODES = ("oil", "ink")\nclass Brush:\n    modes = ["big", "small"]\n    def check_inputs(self, mode):\n        '
    (tmp_path / "brush.py").write_text(text + check, encoding="utf-8")
    tree = SourceTree("brushes", tmp_path)
    owner = tree.find("Brush")
    assert owner is not None

    (parameter,) = with_choices(tree, owner, [Parameter("mode", "str", "text")])

    assert (choices, "choice" if choices else "text") == (parameter.choices, parameter.kind)


def test_choices_are_held(catalog: Catalog) -> None:
    """A word that a known class would refuse is refused before it runs, and its schema names those that it takes."""
    entry = catalog.pipeline("AceStepPipeline")
    parameter = entry.parameter("task_type")

    assert parameter is not None
    assert "cover" == check_value(parameter, "cover")
    assert "cover" in json_schema(entry)["properties"]["task_type"]["enum"]
    with pytest.raises(InvalidParameterError, match="one of 'text2music'"):
        check_value(parameter, "dance")
