"""Shorten what a request repeats in a message: a client's text may be as long as a body."""

from __future__ import annotations

#: Maximum length of a message in characters, and how many of them are the end of one that is longer.
MAX_MESSAGE, _END = 4000, 500

#: Maximum number of errors of one request that are reported: it may have as many as fields.
MAX_PROBLEMS = 50


def shorten_message(text: str) -> str:
    """Return a message whose middle is left out where it is longer than anyone reads."""
    if len(text) <= MAX_MESSAGE:
        return text
    return f"{text[: MAX_MESSAGE - _END]} ... {text[-_END:]}"
