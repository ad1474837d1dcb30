"""Names of prompt parameters, and of prompt syntaxes."""

from __future__ import annotations

import re
from typing import Literal, get_args

#: Syntax of a prompt: plain text, or weights in the syntax of the AUTOMATIC1111 web UI or of Compel.
Syntax = Literal["plain", "a1111", "compel"]

#: The syntax without any special characters.
PLAIN: Syntax = "plain"

#: That of Compel.
COMPEL: Syntax = "compel"

#: All syntaxes.
SYNTAXES: tuple[str, ...] = get_args(Syntax)

#: Names of prompt parameters: `prompt`, `prompt_2`, `negative_prompt_3`, `target_prompt`.
_PROMPT = re.compile(r"(?:\w+_)?prompt(?:_\d+)?")


def is_prompt(name: str) -> bool:
    """Return whether a text parameter is a prompt, by its name."""
    return _PROMPT.fullmatch(name) is not None
