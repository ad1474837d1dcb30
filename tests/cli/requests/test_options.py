"""The prompts of the command line."""

from __future__ import annotations

import pytest

from octabox.cli.requests.options import read_prompts
from octabox.errors import InvalidParameterError


@pytest.mark.parametrize("prompts", [(), ("a star",), ("star",), ("a red star", "a blue disc")])
def test_each_argument_is_a_prompt(prompts: tuple[str, ...]) -> None:
    """One argument of any length, or several of more than a word, are prompts."""
    assert [*prompts] == read_prompts("demo", prompts, None)


@pytest.mark.parametrize("prompts", [("a", "star"), ("a", "star", "masterpiece, best"), ("a red star", "glowing")])
def test_words_without_quotes_are_an_error(prompts: tuple[str, ...]) -> None:
    """A word among several arguments is a part of a prompt without quotes, whatever the others are."""
    with pytest.raises(InvalidParameterError, match=f"There are {len(prompts)} prompts") as caught:
        read_prompts("demo", prompts, None)

    assert f"octabox run demo '{' '.join(prompts)}'" in caught.value.hint
