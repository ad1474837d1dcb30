"""Remove comments from prompts, as the AUTOMATIC1111 web UI has them: a `#` and the rest of its line."""

from __future__ import annotations

import re

from octabox.prompts.wildcards import is_json

#: Colours such as #ff8800, also with an alpha value, which some models read; none of them is a comment.
_COLOUR = r"[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?\b"

#: Short ones such as #fff; at the beginning of a line they are more often words, such as #add.
_SHORT_COLOUR = r"[0-9a-fA-F]{3}\b"

#: A comment; what precedes it in its line are spaces or the rest of the prompt.
COMMENT = re.compile(rf"^\s*#(?!{_COLOUR}).*|#(?!{_COLOUR}|{_SHORT_COLOUR}).*")


def remove_comments(text: str) -> str:
    """Return a prompt without its comments, and without the lines that are nothing else; one that is JSON has none.

    Args:
        text: The prompt.
    """
    if "#" not in text or is_json(text):
        return text
    pairs = ((line, COMMENT.sub("", line)) for line in text.split("\n"))
    return "\n".join(kept for line, kept in pairs if kept == line or kept.strip())


def inner_comments(text: str) -> list[str]:
    """Return the comments of a prompt that do not begin their lines, which may not be meant as such: ``item #1, blue``.

    Args:
        text: The prompt.
    """
    if "#" not in text or is_json(text):
        return []
    found = (COMMENT.search(line) for line in text.split("\n"))
    comments = [each[0].rstrip() for each in found if each and each.string[: each.start()].strip()]
    return [each for each in comments if each.strip("# ")]
