"""The resources that a replica of a model reserves on a node."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from octabox.config.model import ACCELERATOR

#: Resources by name, as Ray counts them: ``CPU``, ``GPU``, and ``memory`` in bytes.
Resources = Mapping[str, float]


def device_type(requested: str | None) -> str | None:
    """Return the type of a requested device: the index is that of a node, which Ray chooses."""
    return None if requested is None else requested.partition(":")[0]


def replica_resources(device: str | None, weights: int | None, nodes: Iterable[Resources]) -> dict[str, float]:
    """Return what a replica reserves: an accelerator, or a CPU and the host memory of its weights.

    Args:
        device: Type of its device; None is an accelerator if a node has one.
        weights: Bytes of its files; None where they are not known.
        nodes: The resources of each node.
    """
    has_accelerators = any(node.get("GPU", 0) >= 1 for node in nodes)
    if device is None or device == ACCELERATOR:
        device = ACCELERATOR if has_accelerators or device else "cpu"
    if device != "cpu":
        return {"GPU": 1.0}
    return {"CPU": 1.0, **({"memory": float(weights)} if weights else {})}


def has_room(resources: Resources, nodes: Iterable[Resources]) -> bool:
    """Return whether one of the nodes has these resources."""
    return any(all(node.get(name, 0.0) >= amount for name, amount in resources.items()) for node in nodes)


def describe_resources(resources: Resources) -> str:
    """Return resources in words."""
    return " and ".join(_describe(name, amount) for name, amount in resources.items())


def _describe(name: str, amount: float) -> str:
    return f"{math.ceil(amount / 1024**2)} MiB of memory" if name == "memory" else f"{amount:g} {name}"
