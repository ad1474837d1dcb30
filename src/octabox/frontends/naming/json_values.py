"""JSON values: in fields that also take text, and in responses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
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


def encode_json(value: Any) -> str:
    """Return a value as JSON in ASCII; a number that is infinite or NaN, which JSON does not have, is null."""
    try:
        return _encode(value)
    except ValueError:
        return _encode(_without_infinity(value))


def _encode(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=str, allow_nan=False)


def _without_infinity(value: Any) -> Any:
    """Return a value whose numbers are finite or None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        # A key is a text in JSON anyway.
        return {str(key) if isinstance(key, float) else key: _without_infinity(each) for key, each in value.items()}
    return [_without_infinity(each) for each in value] if isinstance(value, list | tuple) else value
