"""Comments in prompts."""

from __future__ import annotations

import pytest

from octabox.prompts.comments import inner_comments, remove_comments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a star", "a star"),
        ("a star # not this", "a star "),
        ("# first\na star\n  # last", "a star"),
        ("a star, # one\nred # two # three\n\nend", "a star, \nred \n\nend"),
        ("#", ""),
        ("a #ff8800 star on #00FF00", "a #ff8800 star on #00FF00"),
        ("a #fff star on #0088, red", "a #fff star on "),
        ("a #ff8800cc star, #ff8800c blue", "a #ff8800cc star, "),
        ("#add a star\n #fff8 b\nc", "c"),
        ("#ff8800 star", "#ff8800 star"),
        ("a star #ff8800s", "a star "),
        ("a star #facades are hidden", "a star "),
        ('{"colour": "# red"}', '{"colour": "# red"}'),
    ],
)
def test_comments_are_removed(text: str, expected: str) -> None:
    """They end with their line; a colour is none, and neither is anything in JSON."""
    assert expected == remove_comments(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("item #1, blue", ["#1, blue"]),
        ("a # b # c \n# d\n  # e\nf #ff8800 g #h", ["# b # c", "#h"]),
        ("a star#", []),
        ("# item #1", []),
        ('{"colour": "a # red"}', []),
    ],
)
def test_comments_that_may_not_be_meant_as_such(text: str, expected: list[str]) -> None:
    """Those after other words in their line, if they have words."""
    assert expected == inner_comments(text)
