"""Places on nodes for the replicas of models, each a placement group of Ray."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from octabox.config.model import ACCELERATOR, ModelConfig
from octabox.engine.cluster.placement import Placement
from octabox.engine.local.devices import size_on_disk
from octabox.engine.local.resident.capacity_errors import RETRY_SECONDS
from octabox.engine.local.resident.room import ResidentModel
from octabox.engine.memory.estimate import weight_bytes
from octabox.engine.ray.connection import all_nodes, available_by_node
from octabox.engine.ray.node_options import accelerator_limit
from octabox.engine.ray.node_placement import HeldPlace, choose_node
from octabox.engine.ray.placement_groups import Reservation, create_group
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

#: Seconds in which a place that is free, or becomes free by an unload, is reserved, before another one is looked for.
FREE_TIMEOUT = 10.0


class Replicas(Protocol):
    """The replicas in memory on a cluster."""

    def resident(self) -> dict[str, ResidentModel]:
        """Return them by their names."""

    def yielded(self, name: str) -> list[str]:
        """Return the names of the replicas whose calls are done, and which give their places to another one."""

    def yielding(self, name: str) -> list[str]:
        """Return the names of the replicas in use that have to give their places to another one."""

    def let_yield(self, name: str, yielding: Iterable[str]) -> None:
        """Let replicas give their places to another one once their calls are done."""

    def end_wait(self, name: str) -> None:
        """End the wait of a replica for a place."""

    async def evict(self, name: str, other: str) -> None:
        """Unload a replica for another one, unless it has come into use."""


class NoReplicas:
    """The replicas of a cluster that has none."""

    def resident(self) -> dict[str, ResidentModel]:
        """Return none."""
        return {}

    def yielded(self, name: str) -> list[str]:
        """Return none."""
        del name
        return []

    def yielding(self, name: str) -> list[str]:
        """Return none."""
        del name
        return []

    def let_yield(self, name: str, yielding: Iterable[str]) -> None:
        """Do nothing."""

    def end_wait(self, name: str) -> None:
        """Do nothing."""

    async def evict(self, name: str, other: str) -> None:
        """Do nothing."""


class Reservations:
    """Reserves places for the replicas of models; it is the `ReplicaRoom` of their queues.

    Args:
        device: Device of models that name none.
        timeout: Seconds that a replica waits for a place.
        grows: Whether an autoscaler adds nodes.
        dtype: Dtype of models that configure none.
        limits: Bytes that models may use, by type of device.
        replicas: The replicas in memory, of which idle ones make room.
    """

    def __init__(
        self,
        device: str | None,
        timeout: float,
        *,
        grows: bool,
        dtype: str = "auto",
        limits: Mapping[str, int] | None = None,
        replicas: Replicas | None = None,
    ) -> None:
        self._device, self._timeout, self._grows, self._dtype = device, timeout, grows, dtype
        self._limits, self._replicas = limits or {}, replicas or NoReplicas()
        self._held: dict[str, HeldPlace] = {}
        self._placing = asyncio.Lock()  # A place that is free is not for two.

    async def reserve(self, name: str, model: ModelConfig) -> Reservation:
        """Reserve a place for a replica on the node where it costs least; idle replicas leave memory for it.

        Args:
            name: Name of the replica.
            model: The model.

        Raises:
            CapacityError: There is no place in time, or no node could ever hold the model.
        """
        resources = await self.resources(model)
        if not self._grows:
            await asyncio.to_thread(check_possible, model, resources)
        end = time.monotonic() + self._timeout
        reserved = await self._reserve_on_node(name, model, resources)
        if reserved is None:
            reserved = await self._request(name, resources, None)
            async with reserved.kept():
                await self._wait_for_any(name, model, reserved, end)
        async with reserved.kept():
            self._held[name] = HeldPlace(model.name, await reserved.node(), resources)
        self._replicas.end_wait(name)
        return reserved

    def holds(self, name: str) -> bool:
        """Return whether a replica has a place."""
        return name in self._held

    @property
    def several_devices(self) -> bool:
        """Return True: nodes may join at any time."""
        return True

    async def has_room(self, model: ModelConfig, size: int, excluded: Collection[str], value: float) -> bool:
        """Return whether a node has a place for one more replica of a model that costs no more than it is worth.

        Args:
            model: Its configuration.
            size: Of no use, since a place is an accelerator or a share of it, or the memory of the weights.
            excluded: Of no use, since no place is reserved twice.
            value: Seconds that the replica is worth.
        """
        del size, excluded
        async with self._placing:
            place = await self._find_place("", model, await self.resources(model))
        return place is not None and place.seconds <= value

    async def resources(self, model: ModelConfig) -> dict[str, float]:
        """Return what a replica of a model reserves."""
        weights = await asyncio.to_thread(size_on_disk, model)
        nodes = await asyncio.to_thread(node_resources)
        device = device_type(next(iter(model.device_names), None) or model.device or self._device)
        needed = await asyncio.to_thread(_bytes_needed, model, device, self._dtype)
        limit = accelerator_limit(self._limits, device)
        return replica_resources(device, weights, nodes, needed, limit, model.device_count)

    async def _reserve_on_node(self, name: str, model: ModelConfig, resources: Resources) -> Reservation | None:
        """Reserve a place on the node where it costs least; return None where there is none, or it is lost or taken."""
        async with self._placing:
            if (node := await self._make_place(name, model, resources)) is None:
                return None
            reserved = await self._request(name, resources, node)
            async with reserved.kept():
                placed = await reserved.wait(FREE_TIMEOUT)
            if not placed:
                await asyncio.shield(reserved.release())
            return reserved if placed else None

    async def _wait_for_any(self, name: str, model: ModelConfig, reserved: Reservation, end: float) -> None:
        """Wait until any node has the place, unloading what becomes idle or has to give its place.

        Raises:
            CapacityError: None has it in time.
        """
        refused = set[str]()
        while True:
            place = await self._make_place(name, model, reserved.resources, refused)
            if await reserved.wait(POLL if place is None else FREE_TIMEOUT):
                return
            if place is not None:
                refused.add(place)
            elif (yielding := self._replicas.yielding(name)) and (
                found := await self._find_place(name, model, reserved.resources, refused, yielding)
            ):
                self._replicas.let_yield(name, found.evicted)
            if time.monotonic() >= end:
                error = _no_place(model, reserved.resources, f"in {self._timeout:g} seconds")
                error.retry_after = RETRY_SECONDS
                raise error

    async def _make_place(
        self, name: str, model: ModelConfig, resources: Resources, refused: Collection[str] = ()
    ) -> str | None:
        """Unload what a replica costs least to have a place for; return the node, or None if there is no such place."""
        place = await self._find_place(name, model, resources, refused)
        for evicted in place.evicted if place else ():
            await self._replicas.evict(evicted, name)
        return place.device if place else None

    async def _find_place(
        self,
        name: str,
        model: ModelConfig,
        resources: Resources,
        refused: Collection[str] = (),
        yielding: Collection[str] = (),
    ) -> Placement | None:
        """Return the node where a place for a replica costs least, and what is unloaded there; None if there is none."""
        free, cards = await asyncio.to_thread(available_by_node), await asyncio.to_thread(node_cards)
        residents = {key: each for key, each in self._replicas.resident().items() if key != name}
        leaving = [*self._replicas.yielded(name), *yielding]
        return choose_node(model.name, resources, free, self._held, residents, cards, refused, leaving)

    async def _request(self, name: str, resources: Resources, node: str | None) -> Reservation:
        """Request a place on a node, or on any."""
        group = await create_group(resources, node)
        return Reservation(group, resources, partial(self._forget, name), partial(self._note_card, name))

    def _forget(self, name: str) -> None:
        self._held.pop(name, None)

    def _note_card(self, name: str, card: str | None) -> None:
        if name in self._held:
            self._held[name] = replace(self._held[name], card=card)


def node_resources() -> Sequence[Resources]:
    """Return all resources of each node that is alive."""
    return [node["Resources"] for node in all_nodes() if node["Alive"]]


def check_possible(model: ModelConfig, resources: Resources) -> None:
    """Refuse a model that no node could hold.

    Raises:
        CapacityError: No node has these resources, even if it were idle.
    """
    if not has_room(resources, node_resources()):
        raise _no_place(model, resources, "even if it were idle")


def node_cards() -> dict[str, int]:
    """Return how many accelerators each node that is alive has, by its id."""
    return {node["NodeID"]: int(node["Resources"].get("GPU", 0)) for node in all_nodes() if node["Alive"]}


def _bytes_needed(model: ModelConfig, device: str | None, dtype: str) -> int | None:
    """Return how many bytes a replica needs on an accelerator; None where its weights are not on this machine."""
    kind = "cuda" if device in (None, ACCELERATOR) else device  # Any accelerator has the same dtypes.
    try:
        sizes = weight_bytes(model, kind, dtype)
    except (OSError, ValueError):
        return None  # The load reports what is wrong with its files.
    return None if sizes is None else needed_bytes(sum(sizes.values()))


def _no_place(model: ModelConfig, resources: Resources, when: str) -> CapacityError:
    return CapacityError(
        f"No node of the cluster has {describe_resources(resources)} for model '{model.name}' {when}.",
        hint="Add a node, free one by `octabox stop MODEL`, or set `cluster_grows` if an autoscaler adds nodes.",
        model=model.name,
    )
