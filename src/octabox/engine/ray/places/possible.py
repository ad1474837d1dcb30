"""Whether a cluster could hold a model at all, and the errors where it could not."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping

from octabox.engine.local.resident.capacity_errors import all_pinned
from octabox.engine.memory.units import format_bytes
from octabox.engine.ray.node_placement import HeldPlace, PlaceRequest
from octabox.engine.ray.resources import ReplicaNeed, Resources, card_bytes, describe_resources, has_room, usable
from octabox.errors import CapacityError, OutOfMemoryError

logger = logging.getLogger("octabox.engine")


def check_possible(
    request: PlaceRequest,
    nodes: Mapping[str, Resources],
    all_nodes: Mapping[str, Resources],
    pinned: Mapping[str, HeldPlace],
) -> None:
    """Refuse a model that no node could hold.

    Args:
        request: What is requested.
        nodes: All resources of the nodes that are suitable, by their ids.
        all_nodes: Those of the others as well, where accelerators may be too small.
        pinned: The places that are not given up for it, by the names of their replicas.

    Raises:
        OutOfMemoryError: The model does not offload, and needs more than an accelerator has.
        CapacityError: No node has these resources, even if it were idle, or without what is pinned there.
    """
    need, left = request.need, {name: dict(total) for name, total in nodes.items()}
    if not _any_fits(need, left.values()):
        if need.accelerators and _any_fits(need, all_nodes.values()):
            raise _too_large(request, usable(max(map(card_bytes, all_nodes.values())), need.limit))
        raise no_place(request, "even if it were idle")
    for place in pinned.values():
        there = left.get(place.node, {})
        there.update({name: there.get(name, 0.0) - amount for name, amount in place.resources.items()})
    if not _any_fits(need, left.values()):
        raise all_pinned(request.model, f"models that hold its place, {', '.join(sorted(pinned))},")


def _any_fits(need: ReplicaNeed, nodes: Iterable[Resources]) -> bool:
    """Return whether one of the nodes has what a replica needs there."""
    return any(has_room(need.resources(card_bytes(node)), [node]) for node in nodes)


def no_place(request: PlaceRequest, when: str) -> CapacityError:
    """Return the error of a replica that no node has a place for.

    Args:
        request: What was requested.
        when: When that is so, in words.
    """
    return CapacityError(
        f"No node of the cluster has {describe_resources(request.need.resources())} for model '{request.model}' {when}.",
        hint="Add a node, free one by `octabox stop MODEL`, or set `cluster_grows` if an autoscaler adds nodes.",
        model=request.model,
    )


def _too_large(request: PlaceRequest, largest: int) -> OutOfMemoryError:
    """Return the error of a model that does not offload, and whose weights no accelerator holds."""
    return OutOfMemoryError(
        f"Model '{request.model}' needs {format_bytes(request.need.least)} of an accelerator for its weights, and models "
        f"may use {format_bytes(largest)} of the largest one of the cluster.",
        hint="Add a node with a larger accelerator, or set `memory: auto`, a half-precision `dtype`, "
        "`storage: float8_e4m3fn` or a `quantization` for its largest component.",
        model=request.model,
        requested=request.need.least,
        free=largest,
    )


def warn_if_large(request: PlaceRequest, sizes: Collection[int]) -> None:
    """Log that a model is on an accelerator which is smaller than what it needs, since no larger one is there."""
    need, largest = request.need, max(sizes, default=0)
    if need.accelerators and need.needed and largest and usable(largest, need.limit) < need.needed:
        logger.warning(
            "Model '%s' needs about %s of an accelerator with its calls, and models may use %s of the largest one of the "
            "cluster: a part of it may be offloaded",
            request.model,
            format_bytes(need.needed),
            format_bytes(usable(largest, need.limit)),
        )
