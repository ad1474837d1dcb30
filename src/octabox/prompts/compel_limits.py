"""Limits of prompts in Compel's syntax, whose parser takes a millisecond for each word, and ten times that in brackets."""

from __future__ import annotations

import re

from octabox.errors import InvalidParameterError

#: Maximum number of brackets and quotes that open, and of words and marks, of one prompt: together a second of parsing.
MAX_GROUPS, MAX_WORDS = 100, 1000

#: A word, or any other character.
_WORD = re.compile(r"\w+|[^\w\s]")


def check_compel_limits(text: str, parameter: str) -> None:
    """Check that Compel's parser can read a prompt in about a second.

    Args:
        text: The prompt.
        parameter: Name of the call parameter, for errors.

    Raises:
        InvalidParameterError: It has too many groups or words.
    """
    groups = text.count("(") + text.count('"') // 2
    words = sum(1 for _ in _WORD.finditer(text))
    for count, limit, what in (
        (groups, MAX_GROUPS, "groups in brackets or quotes"),
        (words, MAX_WORDS, "words and marks"),
    ):
        if count > limit:
            raise InvalidParameterError(
                f"'{parameter}' has {count} {what}; the maximum of Compel's syntax is {limit}.",
                hint="Shorten it, or set prompt_syntax to 'a1111' or 'plain'.",
                parameter=parameter,
            )
