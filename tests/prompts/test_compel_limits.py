"""Limits of prompts in Compel's syntax."""

import pytest

from octabox.errors import InvalidParameterError
from octabox.prompts.compel_limits import MAX_GROUPS, MAX_WORDS, check_compel_limits


@pytest.mark.parametrize("text", ["", "(a b)+ " * MAX_GROUPS, '"a" ' * MAX_GROUPS, "word " * MAX_WORDS])
def test_prompts_up_to_the_limits_are_accepted(text: str) -> None:
    """A prompt may have as many groups or words as the limit."""
    check_compel_limits(text, "prompt")


@pytest.mark.parametrize(
    ("text", "count", "limit"),
    [
        ("(a)" * (MAX_GROUPS + 1), MAX_GROUPS + 1, MAX_GROUPS),
        ('"a" ' * (MAX_GROUPS + 1), MAX_GROUPS + 1, MAX_GROUPS),
        ("word " * 20_000, 20_000, MAX_WORDS),
        ("+" * 100_000, 100_000, MAX_WORDS),
    ],
)
def test_longer_prompts_are_refused_with_both_numbers(text: str, count: int, limit: int) -> None:
    """A prompt above a limit is an error that states how many it has and how many it may have."""
    with pytest.raises(InvalidParameterError, match=rf"'negative_prompt' has {count} .* is {limit}\.") as caught:
        check_compel_limits(text, "negative_prompt")

    assert caught.value.parameter == "negative_prompt"
