"""The resources that a replica of a model reserves on a node."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from octabox.config.model import ACCELERATOR

#: Resources by name, as Ray counts them: ``CPU``, ``GPU``, and ``memory`` in bytes.
Resources = Mapping[str, float]


#: What a node declares of each of its accelerators, in bytes: information, of which nothing is reserved.
ACCELERATOR_BYTES = "accelerator_bytes"

#: Steps of a share, and the smallest one: a process has a context on the device, whatever its model is.
SHARE_STEPS, MIN_SHARE = 1000, 0.02

#: Bytes of a process on an accelerator without a model.
CONTEXT_BYTES = 512 * 1024**2

#: Bytes that calls are taken to use: this share of the weights, and so many at least. Where that is too little, the worker
#: selects a memory mode by what is free.
WORKING_SHARE, MIN_WORKING = 0.5, 2 * 1024**3


def device_type(requested: str | None) -> str | None:
    """Return the type of a requested device: the index is that of a node, which Ray chooses."""
    return None if requested is None else requested.partition(":")[0]


@dataclass(frozen=True)
class ReplicaNeed:
    """What a replica needs of a node: accelerators or a share of one, or CPUs and the host memory of its weights.

    Args:
        accelerators: On how many accelerators it is, all of one node; 0 is on CPUs.
        cpus: How many CPUs it reserves, where it is on no accelerator.
        memory: Bytes of the host that it reserves with them.
        needed: Bytes that it needs on each accelerator, with those of calls; None where they are not known.
        least: Bytes that it cannot do without there, as it does not offload; 0 where it can, or they are not known.
        limit: Bytes that models may use of each accelerator, as if it had no more; None is no limit.
        share: What it reserves of any accelerator, where it was requested before its node is known; None is by its node.
    """

    accelerators: int = 0
    cpus: float = 0.0
    memory: float = 0.0
    needed: int | None = None
    least: int = 0
    limit: int | None = None
    share: float | None = None

    def resources(self, card: int = 0) -> dict[str, float]:
        """Return what it reserves on a node.

        Args:
            card: Bytes of each of its accelerators; 0 where they are not declared.
        """
        if not self.accelerators:
            return {"CPU": self.cpus, **({"memory": self.memory} if self.memory else {})}
        if self.accelerators > 1:
            return {"GPU": float(self.accelerators)}
        return {"GPU": accelerator_share(self.needed, card, self.limit) if self.share is None else self.share}

    def suitable(self, cards: Collection[int]) -> list[list[int]]:
        """Return those of some sizes of accelerators that it may be on, the best ones first.

        It is on one that holds it, whichever that is. Where there is none it is offloaded, on the largest one if possible.
        A size that is not declared is taken to be enough.

        Args:
            cards: Bytes of each size; 0 is one that is not declared.
        """
        holding = [each for each in cards if not each or not self.needed or usable(each, self.limit) >= self.needed]
        if holding:
            return [holding]
        return [[each] for each in sorted(cards, reverse=True) if usable(each, self.limit) >= self.least]


def replica_need(
    device: str | None,
    weights: int | None,
    nodes: Collection[Resources],
    needed: int | None = None,
    limit: int | None = None,
    count: int = 1,
    least: int = 0,
) -> ReplicaNeed:
    """Return what a replica needs of a node; one that is split over several devices needs as many of the same node.

    Args:
        device: Type of its device; None is an accelerator if a node has one.
        weights: Bytes of its files; None where they are not known.
        nodes: The resources of each node.
        needed: Bytes that it needs on an accelerator; None where they are not known.
        limit: Bytes that models may use of each accelerator; None is no limit.
        count: Over how many devices it is split.
        least: Bytes that it cannot do without on an accelerator.
    """
    has_accelerators = any(node.get("GPU", 0) >= 1 for node in nodes)
    if device is None or device == ACCELERATOR:
        device = ACCELERATOR if has_accelerators or device else "cpu"
    if device != "cpu":
        return ReplicaNeed(accelerators=count, needed=needed, least=least, limit=limit)
    return ReplicaNeed(cpus=float(count), memory=float((weights or 0) * count))


def card_bytes(node: Resources) -> int:
    """Return the bytes of each accelerator of a node; 0 where it does not declare them."""
    return int(node.get(ACCELERATOR_BYTES, 0.0))


def usable(card: int, limit: int | None) -> int:
    """Return how many bytes of an accelerator models may use."""
    return card if limit is None else min(card, limit)


def accelerator_share(needed: int | None, card: int, limit: int | None = None) -> float:
    """Return the share of an accelerator that a replica reserves, so that several small models are on one.

    Where its bytes are not declared, or those of the replica are not known, it is a whole one.

    Args:
        needed: Bytes that the replica needs there.
        card: Bytes of the accelerator; 0 where they are not declared.
        limit: Bytes that models may use of it, as if it had no more; None is no limit.
    """
    if not needed or card <= 0:
        return 1.0
    return min(1.0, max(MIN_SHARE, math.ceil(needed / usable(card, limit) * SHARE_STEPS) / SHARE_STEPS))


def needed_bytes(weights: int) -> int:
    """Return how many bytes a replica with these bytes of weights needs on an accelerator: its process and its calls, too."""
    return round(CONTEXT_BYTES + weights + max(MIN_WORKING, WORKING_SHARE * weights))


def has_room(resources: Resources, nodes: Iterable[Resources]) -> bool:
    """Return whether one of the nodes has these resources."""
    return any(all(node.get(name, 0.0) >= amount for name, amount in resources.items()) for node in nodes)


def describe_resources(resources: Resources) -> str:
    """Return resources in words."""
    return " and ".join(_describe(name, amount) for name, amount in resources.items())


def _describe(name: str, amount: float) -> str:
    return f"{math.ceil(amount / 1024**2)} MiB of memory" if name == "memory" else f"{amount:g} {name}"
