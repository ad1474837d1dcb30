"""Values that clients write as JSON where text may stand."""

from __future__ import annotations

import json
from typing import Any


def parse_json_or_text(text: str) -> Any:
    """Return what a field's text means: JSON where it is some that is no text, else the text itself."""
    try:
        value = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, (int, float, list, dict)) else text


def refuse_constant(constant: str) -> None:
    """Take no NaN and no infinity: JSON has none."""
    raise ValueError(f"{constant} is no number of JSON")
