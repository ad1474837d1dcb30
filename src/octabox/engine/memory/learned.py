"""What was measured of models' memory, kept on disk, and what a call will need by it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from octabox.catalog.cache import cache_folder
from octabox.security.json_files import read_json, write_json

logger = logging.getLogger(__name__)

#: Factor of a prediction from measured calls.
MARGIN = 1.2

#: How many measured sizes are kept; the smallest and the largest one are always among them.
MAX_POINTS = 16


@dataclass(frozen=True)
class LearnedMemory:
    """The measured memory of a model as it is loaded with one configuration.

    Args:
        weights: Bytes after the load by memory mode and place: ``host`` or ``device``.
        working: Bytes that calls have used in addition to the weights on the device, by their size: pixels times frames.
    """

    weights: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    working: Mapping[int, int] = field(default_factory=dict)

    def working_bytes(self, size: int) -> int | None:
        """Return how many bytes a call of a size will use in addition to the weights; None without a measured call.

        A line through the smallest and the largest measured size is used; with one size, larger calls need
        proportionally more, and smaller ones as much.
        """
        return round(MARGIN * self._line(size)) if self.working else None

    def least_bytes(self, size: int) -> int:
        """Return how many bytes a call of a size uses at least: without a margin, and no more than a larger one has used."""
        used = [each for measured, each in self.working.items() if measured >= size]
        return round(min([self._line(size), *used])) if self.working else 0

    def _line(self, size: int) -> float:
        """Return the bytes of a size on the line through the measured ones."""
        small, large = min(self.working), max(self.working)
        lower, upper = self.working[small], self.working[large]
        if small == large:
            return upper * max(1.0, size / max(large, 1))
        slope = max(0.0, (upper - lower) / (large - small))
        return max(0.0, max(lower - slope * small, 0.0) + slope * size)

    def with_call(self, size: int, used: int) -> LearnedMemory:
        """Return this with a call of a size that has used so many bytes; the largest of equal sizes counts."""
        working = {**self.working, size: max(used, self.working.get(size, 0))}
        while len(working) > MAX_POINTS:
            del working[sorted(working)[1]]
        return LearnedMemory(self.weights, working)

    def with_weights(self, mode: str, held: Mapping[str, int]) -> LearnedMemory:
        """Return this with the bytes after a load in a memory mode."""
        return LearnedMemory({**self.weights, mode: dict(held)}, self.working)


def read_learned(key: str) -> LearnedMemory:
    """Return what was measured of a model; nothing if its file is missing or damaged."""
    try:
        stored = read_json(_file(key))
        weights = {
            str(mode): {str(place): int(size) for place, size in held.items()}
            for mode, held in stored["weights"].items()
        }
        return LearnedMemory(weights, {int(size): int(used) for size, used in stored["working"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return LearnedMemory()


def write_learned(key: str, learned: LearnedMemory) -> None:
    """Keep what was measured of a model. A folder that is not writable is only logged."""
    file = _file(key)
    try:
        write_json(file, asdict(learned))
    except OSError as error:
        logger.debug("Measured memory cannot be written to %s: %s", file, error)


def _file(key: str) -> Path:
    return cache_folder() / "memory" / f"{key}.json"
