"""Prompts by the syntax that they are written in."""

from __future__ import annotations

import pytest

from octabox.engine.worker.prompts.parsed import ParsedPrompt, readings
from octabox.errors import InvalidParameterError


def read(text: str, syntax: str) -> ParsedPrompt:
    """Return a prompt as it is read."""
    return readings({"prompt": text}, syntax)["prompt"]


def weights(reading: ParsedPrompt) -> list[tuple[str, float]]:
    """Return all fragments of a prompt without spaces, weights to four places."""
    strands = [strand for section in reading.sections for strand in section.strands]
    return [(each.text.strip(), round(each.weight, 4)) for strand in strands for each in strand]


def test_only_prompts_are_read() -> None:
    """What is no prompt by its name, or no text, is left alone."""
    params = {"prompt": "a", "negative_prompt_2": "b", "prompt_embeds": "c", "eta": "d", "prompt_3": None}

    assert ["prompt", "negative_prompt_2"] == list(readings(params, "plain"))


def test_plain_words_stand_for_themselves() -> None:
    """No sign means anything."""
    reading = read(r"a (red:1.5) \{x\} BREAK dog++", "plain")

    assert r"a (red:1.5) \{x\} BREAK dog++" == reading.plain
    assert not reading.is_weighted


def test_a1111() -> None:
    """Weights and sections are those of the web UI, and escaped letters are letters."""
    reading = read(r"a (red:1.5) \{x\} BREAK dog", "a1111")

    assert [("a", 1.0), ("red", 1.5), ("{x}", 1.0), ("dog", 1.0)] == weights(reading)
    assert "a red {x} dog" == reading.plain
    assert reading.is_weighted
    assert 2 == len(reading.sections)


@pytest.mark.parametrize(
    ("text", "expected", "plain"),
    [
        ("a red++ ball", [("a", 1.0), ("red", 1.21), ("ball", 1.0)], "a red ball"),
        ("(red ball)1.5 on blue-", [("red ball", 1.5), ("on", 1.0), ("blue", 0.9)], "red ball on blue"),
        ('("a cat", "a dog").blend(1, 0.5)', [("a cat", 1.0), ("a dog", 1.0)], "a cat a dog"),
        ("()", [("", 1.0)], ""),
        ("a (ball", [("a (ball", 1.0)], "a (ball"),
    ],
)
def test_compel(text: str, expected: list[tuple[str, float]], plain: str) -> None:
    """Signs, numbers, blends, nothing, and what is never closed."""
    reading = read(text, "compel")

    assert expected == weights(reading)
    assert plain == reading.plain


def test_compel_s_conjunctions_and_blends() -> None:
    """Each part of a conjunction has its weight, and each strand of a blend its share."""
    parts = read('("a", "b").and(1, 0.5)', "compel").sections
    blend = read('("a", "b").blend(0.7, 0.3)', "compel").sections[0]

    assert [1.0, 0.5] == [part.weight for part in parts]
    assert (0.7, 0.3) == blend.shares


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("((((x))))", "more than 3 brackets"),
        ("a (b c " * 6, "more than 3 brackets"),
        ("cat.swap(dog)", "has no effect"),
        ("x.withLora(foo, 0.5)", "has no effect"),
    ],
)
def test_compel_s_limits(text: str, words: str) -> None:
    """What Compel would take minutes for, or a call cannot do, is taken for words, and that is said."""
    reading = read(text, "compel")

    assert words in reading.warnings[0]
    assert not reading.is_weighted


@pytest.mark.parametrize(
    ("text", "syntax"),
    [("(a:99)", "a1111"), ("(a)99", "compel"), ("a" + "+" * 40, "compel"), ('("a", "b").and(1, 99)', "compel")],
)
def test_weights_out_of_range(text: str, syntax: str) -> None:
    """They are refused in both syntaxes."""
    with pytest.raises(InvalidParameterError, match="weight"):
        read(text, syntax)
