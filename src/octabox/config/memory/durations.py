"""How long a model stays in memory without requests."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

#: The duration without an end.
NEVER = math.inf

#: Seconds of each unit.
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

#: A number and a unit, as in ``90s`` or ``1.5 h``; several may follow each other.
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)\s*", re.IGNORECASE)


def parse_duration(value: Any) -> float:
    """Return a duration in seconds; ``never`` and negative numbers have no end.

    Raises:
        ValueError: It is not a duration.
    """
    if isinstance(value, str):
        return _parse_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ValueError("must be seconds, a duration such as 5m, or never")
    return NEVER if value < 0 else float(value)


def format_duration(seconds: float) -> str:
    """Return a duration with at most two units, such as ``4m 59s``."""
    if math.isinf(seconds):
        return "never"
    left = max(0, round(seconds))
    parts = [(left // 86400, "d"), (left // 3600 % 24, "h"), (left // 60 % 60, "m"), (left % 60, "s")]
    present = [f"{count}{unit}" for count, unit in parts if count]
    return " ".join(present[:2]) or "0s"


def _parse_text(text: str) -> float:
    if text.strip().lower() == "never":
        return NEVER
    if re.fullmatch(r"\s*-\d+(?:\.\d+)?\s*[smhd]?\s*", text, re.IGNORECASE):
        return NEVER
    # Each part is read once: as one pattern, a row of digits would be parts in more ways than can be tried.
    text, seconds, position = text.strip(), 0.0, 0
    while position < len(text) or not text:
        part = _PART.match(text, position)
        if part is None:
            raise ValueError("must be seconds, a duration such as 5m, or never")
        seconds, position = seconds + float(part[1]) * UNITS[part[2].lower() or "s"], part.end()
    return seconds


def _to_json(value: float) -> float | str:
    return "never" if math.isinf(value) else value


#: A duration in a configuration.
Duration = Annotated[float, BeforeValidator(parse_duration), PlainSerializer(_to_json, when_used="json")]
