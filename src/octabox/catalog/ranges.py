"""The numbers that a parameter may have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """The numbers that a parameter may have, by the checks of its class; None where there is no bound.

    Args:
        minimum: The smallest number.
        maximum: The largest number.
        exclusive_minimum: What the number must be greater than.
        exclusive_maximum: What the number must be less than.
    """

    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None

    def to_json_schema(self) -> dict[str, float]:
        """Return the keywords of JSON Schema."""
        keywords = {
            "minimum": self.minimum,
            "maximum": self.maximum,
            "exclusiveMinimum": self.exclusive_minimum,
            "exclusiveMaximum": self.exclusive_maximum,
        }
        return {name: bound for name, bound in keywords.items() if bound is not None}


#: Any number.
UNBOUNDED = Range()
