"""Read fields of a Hub's responses and of model cards, which may have any type, as those that they are documented to have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: Maximum number of texts that are shown as one.
MAX_TEXTS = 20

#: Control characters, and those that change the direction of the text after them.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def text_of(value: object) -> str | None:
    """Return a text, or several as one with commas, such as a list of licences; None for anything else.

    Lists in a list are left out: they are not documented, and may contain themselves.
    """
    if isinstance(value, str):
        return printable(value) or None
    if isinstance(value, list | tuple):
        texts = [each for each in value[:MAX_TEXTS] if isinstance(each, str)]
        return ", ".join(filter(None, map(printable, texts))) or None
    return None


def count_of(value: object) -> int:
    """Return a number, such as that of downloads; 0 for anything else."""
    return value if isinstance(value, int) else 0


def mapping_of(value: object) -> Mapping[str, Any]:
    """Return an object of JSON; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def texts_of(value: object) -> list[str]:
    """Return the texts of a list, such as tags; anything else in it is left out."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list | tuple) else []


def printable(text: str) -> str:
    """Return a text with a replacement for each control character, which a terminal could execute, except ends of lines."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
