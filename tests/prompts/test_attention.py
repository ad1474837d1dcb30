"""Weights in prompts, as the AUTOMATIC1111 web UI reads them."""

from __future__ import annotations

import time

import pytest

from octabox.errors import InvalidParameterError
from octabox.prompts.attention import parse_prompt


def weights(text: str) -> list[tuple[str, float]]:
    """Return the fragments of a prompt of one section, weights to four places."""
    (section,) = parse_prompt(text).sections
    return [(fragment.text, round(fragment.weight, 4)) for fragment in section]


def test_the_web_ui_own_example() -> None:
    """The reference's example gives exactly its weights."""
    found = weights("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).")

    assert [
        ("a ", 1.0),
        ("house", 1.573),
        (" ", 1.1),
        ("on", 1.0),
        (" a ", 1.1),
        ("hill", 0.55),
        (", sun, ", 1.1),
        ("sky", 1.4641),
        (".", 1.1),
    ] == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("an [odd] word", [("an ", 1.0), ("odd", 0.9091), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        ("[unbalanced", [("unbalanced", 0.9091)]),
        ("unbalanced)", [("unbalanced)", 1.0)]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        (r"a\\b", [(r"a\b", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        ("(a:1.3) at 10:30", [("a", 1.3), (" at 10:30", 1.0)]),
        ("(a: +.5 )", [("a", 0.5)]),
        ("a:1.3)", [("a:1.3)", 1.0)]),
        ("(a:-1)", [("a", -1.0)]),
        ("(über:2)", [("über", 2.0)]),
    ],
)
def test_brackets(text: str, expected: list[tuple[str, float]]) -> None:
    """Brackets, numbers, escapes, and what is never closed or never opened."""
    assert expected == weights(text)


@pytest.mark.parametrize("text", ["", "()", "[[]]", "(:1.3)", "BREAK", " BREAK BREAK"])
def test_nothing_is_a_prompt_too(text: str) -> None:
    """A prompt without words has none."""
    assert "" == parse_prompt(text).text


def test_sections() -> None:
    """BREAK parts a prompt, also inside brackets, and only as a word of its own."""
    found = parse_prompt("a red BREAK (blue BREAK green:1.5) BREAKFAST")

    assert [["a red"], ["blue"], ["green", " BREAKFAST"]] == [[each.text for each in part] for part in found.sections]
    assert [1.5, 1.5, 1.0] == [each.weight for part in found.sections[1:] for each in part]
    assert "a red blue green BREAKFAST" == found.text


@pytest.mark.parametrize("text", ["(x:1000000000)", "(x:-11)", "(x:" + "9" * 400 + ")", "(" * 100 + "x" + ")" * 100])
def test_a_weight_out_of_range(text: str) -> None:
    """A weight that only makes noise is refused, and the words it is of are named."""
    with pytest.raises(InvalidParameterError, match=r"weight .* of 'x' in 'negative_prompt'") as caught:
        parse_prompt(text, "negative_prompt")
    assert "negative_prompt" == caught.value.parameter


@pytest.mark.parametrize("number", ["nan", "1e9", "inf", "1.2.3"])
def test_what_is_no_number(number: str) -> None:
    """It is taken for words, and that is said."""
    found = parse_prompt(f"a (red:{number}) b")

    assert f"a red:{number} b" == found.text
    assert (f"'{number}' in 'prompt' is not a valid weight and is used as text.",) == found.warnings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a (b", "is not closed"),
        ("a cat AND a dog", "a word"),
        ("[cat:dog:0.5]", "between steps"),
        ("a [red|blue] ball", "between steps"),
    ],
)
def test_doubts(text: str, words: str) -> None:
    """What may have been meant otherwise is said."""
    (warning,) = parse_prompt(text).warnings

    assert words in warning


@pytest.mark.parametrize("text", [")" * 20_000, ":" * 20_000, "1" * 20_000, " " * 20_000, "[" * 900 + "x" * 20_000])
def test_long_prompts_are_read_at_once(text: str) -> None:
    """No prompt takes time that grows faster than its length."""
    assert parse_prompt(text).text == text.lstrip("[")


#: Many parts, each of an escaped character.
WORDS = "\\\\" * 30_000

NESTED = [
    "([" * 500 + WORDS,
    "([" * 500 + WORDS + "])" * 500,
    "([" * 250 + WORDS + "(a)[b]" * 250,
    "".join(f"({each}[" for each in "ab" * 250) + WORDS,
]


def seconds(text: str) -> float:
    """Return the processor time of the fastest of three attempts."""
    times = []
    for _ in range(3):
        start = time.process_time()
        parse_prompt(text)
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize("text", NESTED)
def test_the_time_does_not_grow_with_the_depth(text: str) -> None:
    """A thousand brackets around tens of thousands of words take hardly longer than the words; these keep their weight."""
    found = parse_prompt(text)

    assert seconds(text) < 5 * seconds(WORDS)
    assert {1.0} >= {round(each.weight, 3) for each in found.sections[0] if set(each.text) == {"\\"}}


def test_too_many_brackets() -> None:
    """There is a limit to them, and the error says so."""
    with pytest.raises(InvalidParameterError, match="more than 1000 opening brackets"):
        parse_prompt("[" * 1001 + "x")
