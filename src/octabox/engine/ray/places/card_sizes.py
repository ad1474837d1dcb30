"""The sizes of accelerators that a cluster has, and which of them a replica may be on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from octabox.engine.ray.places.snapshot import NodeResources
from octabox.engine.ray.resources import ReplicaNeed, card_bytes


class CardSizes:
    """How many nodes have so many accelerators of each size; those that Ray drains take no replicas and do not count."""

    def __init__(self) -> None:
        self._nodes: defaultdict[int, Counter[int]] = defaultdict(Counter)

    def count(self, node: NodeResources, sign: int) -> None:
        """Add (1) or remove (-1) a node."""
        if not node.draining and (count := int(node.total.get("GPU", 0.0))):
            self._nodes[card_bytes(node.total)][count] += sign

    def suitable(self, need: ReplicaNeed, too_small: int = 0, without: Iterable[NodeResources] = ()) -> list[list[int]]:
        """Return the bytes of the accelerators that a replica may be on, the best first; 0 is a size that is not declared.

        Args:
            need: What it needs.
            too_small: Bytes of the largest accelerator that is not enough.
            without: Nodes that it cannot be on.
        """
        others = CardSizes()
        for node in without:
            others.count(node, 1)
        sizes = [
            size
            for size, counts in self._nodes.items()
            if not 0 < size <= too_small
            and any(count >= need.accelerators and left > others._nodes[size][count] for count, left in counts.items())
        ]
        return need.suitable(sizes)
