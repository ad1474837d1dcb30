"""State of a translation from LocalAI's configuration format to Octabox's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from octabox.config.problems import KeyPath, Location, Problem, Severity, format_value, nearest_location


@dataclass
class Translation:
    """State of a translation from LocalAI's configuration format to Octabox's.

    Args:
        file: The file of the configuration.
        source: LocalAI's keys, with dots between levels, and their values.
        locations: Location of each value of the file.
        root: Key path of the configuration in the file.
        fields: Translated fields, in Octabox's format.
        origins: LocalAI's key for each field that has been set.
        problems: Errors, and keys that have no effect.
        served: Whether the model is served at all.
    """

    file: Path
    source: dict[str, Any]
    locations: Mapping[KeyPath, Location]
    root: KeyPath = ()
    fields: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    served: bool = True

    def report(self, key: str, message: str, hint: str = "", severity: Severity = "error") -> None:
        """Add a problem of one of LocalAI's keys."""
        location = self.location(key)
        self.problems.append(Problem(self.file, location.line, location.column, key, message, hint, severity))

    def warn(self, key: str, reason: str, hint: str = "") -> None:
        """Add a warning that a key has no effect."""
        self.report(key, f"`{key}` has no effect: {reason}.", hint, "warning")

    def location(self, key: str) -> Location:
        """Return the location of one of LocalAI's keys."""
        path = (int(part) if part.isdecimal() else part for part in key.split("."))
        return nearest_location((*self.root, *path), self.locations)

    def field_locations(self) -> dict[KeyPath, Location]:
        """Return the location that each translated field comes from."""
        return {(): nearest_location(self.root, self.locations)} | {
            field_path: self.location(key) for field_path, key in self.origins.items()
        }

    def put(self, key_path: KeyPath, value: Any, key: str) -> None:
        """Set a field unless an earlier key of the table has set it.

        Args:
            key_path: Key path of the field, in Octabox's format; the name of a parameter may have dots.
            value: Its value.
            key: LocalAI's key that sets it.
        """
        inner: dict[Any, Any] = self.fields
        for part in key_path[:-1]:
            inner = inner.setdefault(part, {})
        if key_path[-1] not in inner:
            inner[key_path[-1]], self.origins[key_path] = value, key
        elif inner[key_path[-1]] != value and self.source.get(key) is not False:
            self.warn(key, f"`{self.origins[key_path]}` is {format_value(inner[key_path[-1]])}")

    def add_adapter(self, lora: str, weight: Any, key: str) -> None:
        """Add a LoRA."""
        adapters = self.fields.setdefault("adapters", [])
        self.origins["adapters", len(adapters)] = key
        adapters.append({"lora": lora, "weight": weight})
