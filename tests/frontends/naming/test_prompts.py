"""Two prompts in one text."""

from typing import Any

import pytest

from octabox.frontends.naming.prompts import SPLIT, parse_prompts, split_prompt
from octabox.prompts.names import SYNTAXES


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a cat", ("a cat", None)),
        ("a cat|blurry", ("a cat", "blurry")),
        ("a cat | blurry | grey", ("a cat", "blurry | grey")),
        (r"a \| b", ("a | b", None)),
        (r"a \| b|c \| d", ("a | b", "c | d")),
        ("|blurry", ("", "blurry")),
        ("a|", ("a", "")),
        ("a {red|green} cat", ("a {red|green} cat", None)),
        ("a [red|green] cat|blurry", ("a [red|green] cat", "blurry")),
        ("a (red|green:1.2) cat | {dark|grey}", ("a (red|green:1.2) cat", "{dark|grey}")),
        ("a {red [light|dark]|green} cat", ("a {red [light|dark]|green} cat", None)),
        ("a sad :( cat|blurry", ("a sad :( cat", "blurry")),
        ("a happy :) cat|blurry", ("a happy :) cat", "blurry")),
        ("a cat|(blurry", ("a cat", "(blurry")),
        ("a cat (|) blurry", ("a cat (|) blurry", None)),
        ("a (cat [|) dog|blurry", ("a (cat [|) dog", "blurry")),
        (r"a \(cat|dog\)", (r"a \(cat", r"dog\)")),
        ('{"mood": ":}", "text": "a|b"}', ('{"mood": ":}", "text": "a|b"}', None)),
        (r'{"text": "a \\| b"}', (r'{"text": "a \\| b"}', None)),
    ],
)
def test_split_prompt(text: str, parts: tuple[str, str | None]) -> None:
    """The first bar that is neither escaped nor in brackets splits the prompt; a bracket without another one is text."""
    assert parts == split_prompt(text)


@pytest.mark.parametrize(
    ("prompt", "negative", "params"),
    [
        (None, None, {}),
        ("a|b", None, {"prompt": "a", "negative_prompt": "b"}),
        ("a|b", "c", {"prompt": "a|b", "negative_prompt": "c"}),
        (["a|b", "c"], None, {"prompt": ["a", "c"], "negative_prompt": ["b", ""]}),
        ("a", "", {"prompt": "a", "negative_prompt": ""}),
    ],
)
def test_a_negative_prompt_of_its_own_keeps_the_bar(prompt: Any, negative: Any, params: dict[str, Any]) -> None:
    """Only where no negative prompt is given does the bar split the text, and then a warning says so."""
    warnings: list[str] = []

    assert params == parse_prompts(prompt, negative, warnings)
    split = negative is None and "negative_prompt" in params
    assert ([SPLIT] if split else []) == warnings


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("prompt", ["a cat|blurry", r"a \| b", ["a|b", "{a|b}"]])
def test_a_syntax_with_a_meaning_for_the_bar_keeps_it(prompt: Any, syntax: str) -> None:
    """A request that names such a syntax has its text read by it, with its own escapes; the plain one has none."""
    warnings: list[str] = []
    params = parse_prompts(prompt, None, warnings, syntax)

    assert ({"prompt": prompt} == params) is (syntax != "plain")
    assert bool(warnings) is ("negative_prompt" in params)
