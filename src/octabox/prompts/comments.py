"""Remove comments from prompts, as the AUTOMATIC1111 web UI has them: a `#` and the rest of its line."""

from __future__ import annotations

import re

from octabox.prompts.wildcards import is_json

#: A comment; not a colour such as #ff8800, which some models read.
COMMENT = re.compile(r"#(?![0-9a-fA-F]{6}\b).*")


def remove_comments(text: str) -> str:
    """Return a prompt without its comments, and without the lines that are nothing else; one that is JSON has none.

    Args:
        text: The prompt.
    """
    if "#" not in text or is_json(text):
        return text
    pairs = ((line, COMMENT.sub("", line)) for line in text.split("\n"))
    return "\n".join(kept for line, kept in pairs if kept == line or kept.strip())
