"""Devices by the bytes that they can offer, and among those by when they are free."""

from __future__ import annotations

import math
from collections.abc import Callable

from octabox.engine.cluster.ranking import Ranking

#: Classes of sizes for each doubling: within one, sizes differ by less than a third.
STEPS = 2


def size_class(size: int) -> int:
    """Return the class of a size: a constant number of classes covers all sizes."""
    return math.floor(STEPS * math.log2(size)) if size > 0 else -1


class CapacityIndex:
    """Devices by their bytes.

    A query looks at the first devices of each class, so that it does not depend on the number of devices.
    """

    def __init__(self) -> None:
        self._classes: dict[int, Ranking] = {}
        self._sizes: dict[str, int] = {}

    def set(self, device: str, size: int, rank: float) -> None:
        """Add a device with its bytes, or change them.

        Args:
            device: Name of the device.
            size: Bytes that it can offer.
            rank: Its place among devices of a similar size, the lowest first.
        """
        before, after = self._sizes.get(device), size_class(size)
        if before is not None and size_class(before) != after:
            self._classes[size_class(before)].discard(device)
        self._sizes[device] = size
        if after not in self._classes:
            self._classes[after] = Ranking()
        self._classes[after].set(device, rank)

    def discard(self, device: str) -> None:
        """Remove a device, if it is there."""
        if (size := self._sizes.pop(device, None)) is not None:
            self._classes[size_class(size)].discard(device)

    def firsts(
        self, size: int, count: int, accepts: Callable[[str], bool] = lambda _: True, skip: int = 0
    ) -> list[str]:
        """Return the first devices of each class that offer this many bytes.

        Args:
            size: Bytes.
            count: How many of each class at most.
            accepts: Returns whether a device counts.
            skip: How many that do not count are passed over in each class at most.
        """

        def suffices(name: str) -> bool:
            # Of the class of the size itself, some devices may be too small.
            return self._sizes[name] >= size and accepts(name)

        lowest = size_class(size)
        found: list[str] = []
        for each, ranking in self._classes.items():
            if each >= lowest:
                found += ranking.firsts(count, suffices, skip)
        return found
