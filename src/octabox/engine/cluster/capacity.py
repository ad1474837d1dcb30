"""Devices by the bytes and CPUs that they can offer, and among those by when they are free."""

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
    """Devices by their bytes, and by their CPUs where these are counted.

    A query looks at the first devices of each class, so that it does not depend on the number of devices.
    """

    def __init__(self) -> None:
        self._classes: dict[tuple[int, int], Ranking] = {}
        self._sizes: dict[str, tuple[int, int]] = {}

    def set(self, device: str, size: int, rank: float, processors: int = 0) -> None:
        """Add a device with its bytes, or change them.

        Args:
            device: Name of the device.
            size: Bytes that it can offer.
            rank: Its place among devices of a similar size, the lowest first.
            processors: CPUs that it can offer; 0 where they are not counted.
        """
        before, after = self._sizes.get(device), _class((size, processors))
        if before is not None and _class(before) != after:
            self._remove(device, _class(before))
        self._sizes[device] = (size, processors)
        if after not in self._classes:
            self._classes[after] = Ranking()
        self._classes[after].set(device, rank)

    def discard(self, device: str) -> None:
        """Remove a device, if it is there."""
        if (size := self._sizes.pop(device, None)) is not None:
            self._remove(device, _class(size))

    def firsts(
        self,
        size: int,
        count: int,
        accepts: Callable[[str], bool] = lambda _: True,
        skip: int = 0,
        processors: int = 0,
    ) -> list[str]:
        """Return the first devices of each class that offer this many bytes.

        Args:
            size: Bytes.
            count: How many of each class at most.
            accepts: Returns whether a device counts.
            skip: How many that do not count are passed over in each class at most.
            processors: CPUs that they must offer as well.
        """

        def suffices(name: str) -> bool:
            # Of the class of the size itself, some devices may be too small.
            bytes_there, processors_there = self._sizes[name]
            return bytes_there >= size and processors_there >= processors and accepts(name)

        lowest, fewest = _class((size, processors))
        found: list[str] = []
        for (by_bytes, by_processors), ranking in self._classes.items():
            if by_bytes >= lowest and by_processors >= fewest:
                found += ranking.firsts(count, suffices, skip)
        return found

    def _remove(self, device: str, of_class: tuple[int, int]) -> None:
        """Remove a device from its class, and a class without devices, which no query needs to look at."""
        ranking = self._classes[of_class]
        ranking.discard(device)
        if not ranking:
            del self._classes[of_class]


def _class(size: tuple[int, int]) -> tuple[int, int]:
    """Return the classes of bytes and CPUs."""
    return size_class(size[0]), size_class(size[1])
