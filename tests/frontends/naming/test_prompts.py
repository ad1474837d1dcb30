"""Two prompts in one text."""

from typing import Any

import pytest

from octabox.frontends.naming.prompts import parse_prompts, split_prompt


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
    ],
)
def test_split_prompt(text: str, parts: tuple[str, str | None]) -> None:
    """The first bar that is not escaped parts the prompt."""
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
    """Only where no negative prompt is given does the bar part the text."""
    assert params == parse_prompts(prompt, negative)
