"""The numbers that a parameter may have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """The numbers that a parameter may have, by the checks of its class or else its description; no bound is None.

    Args:
        minimum: The smallest number.
        maximum: The largest number.
        exclusive_minimum: What the number must be greater than.
        exclusive_maximum: What the number must be less than.
        documented: Whether only the description of the parameter has the bounds, and the class may take other numbers.
    """

    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None
    documented: bool = False

    def contains(self, number: float) -> bool:
        """Return whether a number is in the range."""
        return (
            (self.minimum is None or number >= self.minimum)
            and (self.maximum is None or number <= self.maximum)
            and (self.exclusive_minimum is None or number > self.exclusive_minimum)
            and (self.exclusive_maximum is None or number < self.exclusive_maximum)
        )

    def describe(self) -> str:
        """Return the bounds in words, such as ``from 0 to 1`` or ``more than 0``; empty if there are none."""
        if self.minimum is not None and self.maximum is not None:
            return f"from {self.minimum:g} to {self.maximum:g}"
        words = {
            "at least": self.minimum,
            "more than": self.exclusive_minimum,
            "at most": self.maximum,
            "less than": self.exclusive_maximum,
        }
        return " and ".join(f"{word} {bound:g}" for word, bound in words.items() if bound is not None)

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
