"""Which call parameters are prompts, and the syntaxes that prompts are written in."""

from __future__ import annotations

import re
from typing import Literal, get_args

#: How a prompt is read: as it stands, or with weights as the AUTOMATIC1111 web UI or Compel writes them.
Syntax = Literal["plain", "a1111", "compel"]

#: All syntaxes.
SYNTAXES: tuple[str, ...] = get_args(Syntax)

#: Call parameters that are prompts: `prompt`, `prompt_2`, `negative_prompt_3`, `target_prompt`.
_PROMPT = re.compile(r"(?:\w+_)?prompt(?:_\d+)?")


def is_prompt(name: str) -> bool:
    """Return whether a call parameter of text is a prompt, by its name."""
    return _PROMPT.fullmatch(name) is not None
