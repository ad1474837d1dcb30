"""The resources that a replica of a model reserves on a node."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

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


def replica_resources(
    device: str | None,
    weights: int | None,
    nodes: Collection[Resources],
    needed: int | None = None,
    limit: int | None = None,
    count: int = 1,
) -> dict[str, float]:
    """Return what a replica reserves: an accelerator or a share of it, or a CPU and the host memory of its weights.

    One that is split over several devices reserves so many whole ones, all on the same node.

    Args:
        device: Type of its device; None is an accelerator if a node has one.
        weights: Bytes of its files; None where they are not known.
        nodes: The resources of each node.
        needed: Bytes that it needs on an accelerator; None where they are not known.
        limit: Bytes that models may use of each accelerator; None is no limit.
        count: Over how many devices it is split.
    """
    has_accelerators = any(node.get("GPU", 0) >= 1 for node in nodes)
    if device is None or device == ACCELERATOR:
        device = ACCELERATOR if has_accelerators or device else "cpu"
    if device != "cpu":
        return {"GPU": accelerator_share(needed, nodes, limit) if count == 1 else float(count)}
    return {"CPU": float(count), **({"memory": float(weights * count)} if weights else {})}


def accelerator_share(needed: int | None, nodes: Iterable[Resources], limit: int | None = None) -> float:
    """Return the share of an accelerator that a replica reserves, so that several small models are on one.

    It is that of the smallest accelerator of the cluster, since Ray may choose any. Where the bytes of one are not declared,
    or those of the replica are not known, it is a whole one.

    Args:
        needed: Bytes that the replica needs there.
        nodes: The resources of each node.
        limit: Bytes that models may use of each accelerator, as if it had no more; None is no limit.
    """
    totals = [node.get(ACCELERATOR_BYTES, 0.0) for node in nodes if node.get("GPU", 0) > 0]
    smallest = min(totals, default=0.0)
    if not needed or smallest <= 0:
        return 1.0
    usable = smallest if limit is None else min(smallest, limit)
    return min(1.0, max(MIN_SHARE, math.ceil(needed / usable * SHARE_STEPS) / SHARE_STEPS))


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
