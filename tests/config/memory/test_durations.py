"""Durations as users write them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from octabox.config.memory.durations import NEVER, format_duration
from octabox.config.model import ModelConfig


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (90, 90),
        ("90", 90),
        ("5m", 300),
        ("1.5 h", 5400),
        ("1h 30m", 5400),
        ("2D", 172800),
        ("0", 0),
        ("never", NEVER),
        (" Never ", NEVER),
        (-1, NEVER),
        ("-1", NEVER),
        ("-1m", NEVER),
    ],
)
def test_seconds_units_and_never(value: Any, seconds: float) -> None:
    """A number is seconds; a negative one has no end, as clients of Ollama know it."""
    assert seconds == ModelConfig(name="x", model="x", keep_alive=value).keep_alive


@pytest.mark.parametrize("value", ["soon", "", "5 weeks", True, [5], "m", float("nan")])
def test_anything_else_is_refused(value: Any) -> None:
    """The error states what a duration is."""
    with pytest.raises(ValidationError, match="must be seconds, a duration such as 5m, or never"):
        ModelConfig(name="x", model="x", keep_alive=value)


def test_never_has_a_form_in_json() -> None:
    """JSON has no infinity."""
    assert '"keep_alive":"never"' in ModelConfig(name="x", model="x", keep_alive=-1).model_dump_json()


@pytest.mark.parametrize(
    ("seconds", "text"), [(NEVER, "never"), (0, "0s"), (59.6, "1m"), (299, "4m 59s"), (90061, "1d 1h"), (-3, "0s")]
)
def test_a_duration_is_shown_with_two_units(seconds: float, text: str) -> None:
    """Smaller ones are left out."""
    assert text == format_duration(seconds)
