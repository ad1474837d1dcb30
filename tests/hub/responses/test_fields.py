"""Fields of a Hub's responses and of cards, whatever their type is."""

from __future__ import annotations

import pytest

from octabox.hub.responses.fields import count_of, mapping_of, printable, text_of, texts_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("mit", "mit"),
        (["mit", "apache-2.0"], "mit, apache-2.0"),
        (["mit", ["a", 3], None], "mit"),
        (["a"] * 30, ", ".join(["a"] * 20)),
        ("", None),
        ([], None),
        (3, None),
        ({"a": "b"}, None),
        ("a\x1b[2J", "a\ufffd[2J"),
    ],
)
def test_a_field_is_a_text_or_none(value: object, text: str | None) -> None:
    """A list is one text; what is neither is left out."""
    assert text == text_of(value)


def test_a_list_that_contains_itself_is_read_once() -> None:
    """As an alias in YAML can build it."""
    value: list[object] = ["mit"]
    value.append(value)

    assert "mit" == text_of(value)


def test_other_types_have_empty_values() -> None:
    """Numbers, objects and lists of texts."""
    assert (3, 0, 0) == (count_of(3), count_of("many"), count_of(None))
    assert ({"a": 1}, {}, {}) == (mapping_of({"a": 1}), mapping_of([1]), mapping_of(None))
    assert (["a"], [], []) == (texts_of(["a", 3]), texts_of("ab"), texts_of(None))


def test_control_characters_are_replaced() -> None:
    """Those of a terminal, and those that change the direction of a text; ends of lines and spaces of any kind stay."""
    assert "a\ufffdb\ufffdc\ufffd\nd\te\u00a0f" == printable("a\x07b\x9bc\u202e\nd\te\u00a0f")
