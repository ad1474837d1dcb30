"""A configuration on its way from LocalAI's shape to ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from octabox.config.problems import KeyPath, Place, Problem, Severity, nearest_place, shown


@dataclass
class Translation:
    """A configuration on its way from LocalAI's shape to ours.

    Args:
        file: The file it stands in.
        source: LocalAI's keys, with dots between levels, and their values.
        places: Where things stand in the file.
        root: Way to the configuration inside the file.
        fields: What has been translated, in our shape.
        origins: LocalAI's key for each field that has been set.
        problems: What is wrong, and what has no effect.
        served: Whether it is a model that is to be served at all.
    """

    file: Path
    source: dict[str, Any]
    places: Mapping[KeyPath, Place]
    root: KeyPath = ()
    fields: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    served: bool = True

    def report(self, key: str, message: str, hint: str = "", severity: Severity = "error") -> None:
        """Note a problem with one of LocalAI's keys."""
        place = self.place(key)
        self.problems.append(Problem(self.file, place.line, place.column, key, message, hint, severity))

    def warn(self, key: str, reason: str, hint: str = "") -> None:
        """Note that a key is understood but has no effect."""
        self.report(key, f"`{key}` is understood but has no effect here: {reason}.", hint, "warning")

    def place(self, key: str) -> Place:
        """Return where one of LocalAI's keys stands."""
        path = (int(part) if part.isdigit() else part for part in key.split("."))
        return nearest_place((*self.root, *path), self.places)

    def own_places(self) -> dict[KeyPath, Place]:
        """Return where each field of ours comes from."""
        return {(): nearest_place(self.root, self.places)} | {own: self.place(key) for own, key in self.origins.items()}

    def put(self, target: str, value: Any, key: str) -> None:
        """Set a field, unless an earlier key of the table has set it."""
        way = tuple(target.split("."))
        inner = self.fields
        for part in way[:-1]:
            inner = inner.setdefault(part, {})
        if way[-1] not in inner:
            inner[way[-1]], self.origins[way] = value, key
        elif inner[way[-1]] != value and self.source.get(key) is not False:
            self.warn(key, f"`{self.origins[way]}` says {shown(inner[way[-1]])}")

    def add_adapter(self, lora: str, weight: Any, key: str) -> None:
        """Add a LoRA."""
        adapters = self.fields.setdefault("adapters", [])
        self.origins["adapters", len(adapters)] = key
        adapters.append({"lora": lora, "weight": weight})
