"""Values of the axes of a plot: lists and ranges."""

from __future__ import annotations

import pytest

from octabox.errors import InvalidParameterError
from octabox.frontends.http.a1111.generation.plots.values import MAX_CELLS, parse_values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1, 2,3", ["1", "2", "3"]),
        ("1\n2, 3", ["1", "2", "3"]),
        ("1-3", ["1", "2", "3"]),
        ("1-7 (+3)", ["1", "4", "7"]),
        ("3-1 (-1)", ["3", "2", "1"]),
        ("3-1", []),
        ("1-3 (+0)", []),
        ("0-1 [3]", ["0", "0.5", "1"]),
        ("-1", ["-1"]),
        ("4294967295", ["4294967295"]),
        ("", []),
    ],
)
def test_numbers(text: str, values: list[str]) -> None:
    """Ranges are those of the web UI, and lines are separators like commas."""
    assert values == list(parse_values("CFG Scale", text))


@pytest.mark.parametrize("text", ["1-{}", "{}-1", "{}", "1-5 (+{})", "0-{} [3]", "0-1 [{}]", "inf", "nan", "1-1e400"])
def test_numbers_that_are_too_large(text: str) -> None:
    """They are errors of the request, as are those that are none."""
    with pytest.raises(InvalidParameterError, match="is not a number"):
        parse_values("CFG Scale", text.format("9" * 400))


@pytest.mark.parametrize("text", ["0-1 [1000]", "1-1000000", f"0-{'9' * 300} (+0.{'0' * 300}1)"])
def test_long_ranges(text: str) -> None:
    """They end where a plot has too many images."""
    assert MAX_CELLS + 1 == len(parse_values("CFG Scale", text))


def test_texts() -> None:
    """Quotation marks protect commas; what is too long for a value is an error."""
    assert ("a, b", "c", "d") == parse_values("Prompt S/R", '"a, b", c\n d')
    with pytest.raises(InvalidParameterError, match="Styles"):
        parse_values("Styles", "x" * 200_000)
