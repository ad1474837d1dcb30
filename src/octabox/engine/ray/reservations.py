"""Places on nodes for the replicas of models, each a placement group of Ray."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from octabox.config.model import ACCELERATOR, ModelConfig
from octabox.engine.local.devices import size_on_disk
from octabox.engine.memory.estimate import weight_bytes
from octabox.engine.ray.connection import all_nodes, available_by_node
from octabox.engine.ray.resources import (
    Resources,
    describe_resources,
    device_type,
    has_room,
    needed_bytes,
    replica_resources,
)
from octabox.errors import CapacityError

logger = logging.getLogger("octabox.engine")

#: Seconds between two attempts to free a place for a replica that waits for one.
POLL = 0.5

#: Seconds in which a place that is free, or becomes free by an unload, is reserved, before a model is unloaded for it.
FREE_TIMEOUT = 10.0


class Reservation:
    """A place for one replica; its end ends the replica.

    Args:
        group: Its placement group.
        resources: What it reserves.
    """

    def __init__(self, group: PlacementGroup, resources: Resources) -> None:
        self._group, self.resources = group, resources

    @property
    def strategy(self) -> PlacementGroupSchedulingStrategy:
        """What puts an actor there."""
        return PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=0)

    async def wait(self, seconds: float) -> bool:
        """Wait until a node has the place; return whether one has."""
        return bool(await asyncio.to_thread(self._group.wait, seconds))

    async def release(self) -> None:
        """Give the place up."""
        with contextlib.suppress(Exception):  # The cluster may be gone.
            await asyncio.to_thread(remove_placement_group, self._group)


class Reservations:
    """Reserves places for the replicas of models; it is the `ReplicaRoom` of their queues.

    Args:
        device: Device of models that name none.
        timeout: Seconds that a replica waits for a place.
        grows: Whether an autoscaler adds nodes.
        dtype: Dtype of models that configure none.
    """

    def __init__(self, device: str | None, timeout: float, *, grows: bool, dtype: str = "auto") -> None:
        self._device, self._timeout, self._grows, self._dtype = device, timeout, grows, dtype

    async def reserve(self, model: ModelConfig, evict: Callable[[], Awaitable[bool]]) -> Reservation:
        """Reserve a place for a model; idle models leave memory until there is one.

        Args:
            model: The model.
            evict: Unloads an idle model; returns whether there was one.

        Raises:
            CapacityError: There is no place in time, or no node could ever hold the model.
        """
        resources = await self.resources(model)
        self._check_possible(model, resources)
        end = time.monotonic() + self._timeout
        # The strategy is what spreads several replicas over the nodes: each group has a single bundle.
        is_free = has_room(resources, (await asyncio.to_thread(available_by_node)).values())
        group = await asyncio.to_thread(placement_group, [dict(resources)], "SPREAD")
        reservation = Reservation(group, resources)
        try:
            # A place that is free takes a moment to be reserved, for which no model is to be unloaded.
            seconds = FREE_TIMEOUT if is_free else POLL
            while not (placed := await reservation.wait(seconds)):
                evicted = await evict()
                if not evicted and time.monotonic() >= end:
                    break
                seconds = FREE_TIMEOUT if evicted else POLL
        except BaseException:
            await asyncio.shield(reservation.release())
            raise
        if not placed:
            await reservation.release()
            raise _no_place(model, resources, f"in {self._timeout:g} seconds")
        return reservation

    @property
    def several_devices(self) -> bool:
        """Return True: nodes may join at any time."""
        return True

    async def has_room(self, model: ModelConfig, size: int, excluded: Collection[str]) -> bool:
        """Return whether a node has a place for one more replica of a model now.

        Args:
            model: Its configuration.
            size: Of no use, since a place is an accelerator, or the memory of the weights.
            excluded: Of no use, since no place is reserved twice.
        """
        del size, excluded
        resources = await self.resources(model)
        available = await asyncio.to_thread(available_by_node)
        return has_room(resources, available.values())

    async def resources(self, model: ModelConfig) -> dict[str, float]:
        """Return what a replica of a model reserves."""
        weights = await asyncio.to_thread(size_on_disk, model)
        nodes = await asyncio.to_thread(node_resources)
        device = device_type(model.device or self._device)
        needed = await asyncio.to_thread(self._needed, model, device)
        return replica_resources(device, weights, nodes, needed)

    def _needed(self, model: ModelConfig, device: str | None) -> int | None:
        """Return how many bytes a replica needs on an accelerator; None where its weights are not on this machine."""
        kind = "cuda" if device in (None, ACCELERATOR) else device  # Any accelerator has the same dtypes.
        try:
            sizes = weight_bytes(model, kind, self._dtype)
        except (OSError, ValueError):
            return None  # The load reports what is wrong with its files.
        return None if sizes is None else needed_bytes(sum(sizes.values()))

    def _check_possible(self, model: ModelConfig, resources: Resources) -> None:
        """Refuse a model that no node could hold, unless an autoscaler may add one.

        Raises:
            CapacityError: No node has these resources, even if it were idle.
        """
        if not self._grows and not has_room(resources, node_resources()):
            raise _no_place(model, resources, "even if it were idle")


def node_resources() -> Sequence[Resources]:
    """Return all resources of each node that is alive."""
    return [node["Resources"] for node in all_nodes() if node["Alive"]]


def _no_place(model: ModelConfig, resources: Resources, when: str) -> CapacityError:
    return CapacityError(
        f"No node of the cluster has {describe_resources(resources)} for model '{model.name}' {when}.",
        hint="Add a node, free one by `octabox stop`, or set `cluster_grows` if an autoscaler adds nodes.",
        model=model.name,
    )
