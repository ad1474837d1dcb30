"""JSON values in fields that also take text."""

from __future__ import annotations

import json
from typing import Any


def parse_json_or_text(text: str) -> Any:
    """Return the number, list or object that a text is in JSON; otherwise the text itself."""
    try:
        value = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, (int, float, list, dict)) else text


def refuse_constant(constant: str) -> None:
    """Raise a ValueError for NaN and Infinity, which JSON does not have."""
    raise ValueError(f"{constant} is not a JSON number")
