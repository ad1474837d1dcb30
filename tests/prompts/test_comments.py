"""Comments in prompts."""

from __future__ import annotations

import pytest

from octabox.prompts.comments import remove_comments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a star", "a star"),
        ("a star # not this", "a star "),
        ("# first\na star\n  # last", "a star"),
        ("a star, # one\nred # two # three\n\nend", "a star, \nred \n\nend"),
        ("#", ""),
        ("a #ff8800 star on #00FF00", "a #ff8800 star on #00FF00"),
        ("a star #ff8800s", "a star "),
        ("a star #facades are hidden", "a star "),
        ('{"colour": "# red"}', '{"colour": "# red"}'),
    ],
)
def test_comments_are_removed(text: str, expected: str) -> None:
    """They end with their line; a colour is none, and neither is anything in JSON."""
    assert expected == remove_comments(text)
