"""Places on nodes for the replicas of models, each a placement group of Ray."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from octabox.config.model import ACCELERATOR, ModelConfig
from octabox.engine.cluster.placement import Placement
from octabox.engine.local.devices import size_on_disk
from octabox.engine.local.resident.capacity_errors import RETRY_SECONDS, all_pinned
from octabox.engine.memory.estimate import weight_bytes
from octabox.engine.ray.connection import all_nodes, available_by_node
from octabox.engine.ray.node_options import accelerator_limit
from octabox.engine.ray.node_placement import HeldPlace, PlaceRequest, Replicas, choose_node
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


class HeldPlaces:
    """The places that replicas hold on nodes, and where there is, or can be, one for another replica.

    Args:
        replicas: The replicas in memory, of which idle ones make room.
    """

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas
        self._held: dict[str, HeldPlace] = {}

    def __contains__(self, name: str) -> bool:
        """Return whether a replica has a place."""
        return name in self._held

    def add(self, name: str, place: HeldPlace) -> None:
        """Add the place of a replica."""
        self._held[name] = place

    def pinned(self) -> dict[str, HeldPlace]:
        """Return the places of replicas that are pinned, by their names."""
        residents = self._replicas.resident()
        return {name: place for name, place in self._held.items() if name in residents and residents[name].pinned}

    async def find(self, request: PlaceRequest, yielding: Collection[str] = ()) -> Placement | None:
        """Return the node where a place costs least, and what is unloaded there; None if no node can have one free.

        Args:
            request: What is requested.
            yielding: Names of replicas in use that may be unloaded as well, once their calls are done.
        """
        free, cards = await asyncio.to_thread(available_by_node), await asyncio.to_thread(node_cards)
        residents = {
            name: each
            for name, each in self._replicas.resident().items()
            if name != request.name and each.yields_to in ("", request.name)
        }
        leaving = [*self._replicas.yielded(request.name), *yielding]
        refused = request.still_refused(free)
        return choose_node(request.model, request.resources, free, self._held, residents, cards, refused, leaving)

    async def create(self, request: PlaceRequest, node: str | None) -> Reservation:
        """Create a reservation on a node, or on any, which waits for the place."""
        group = await create_group(request.resources, node)
        forget, note_card = partial(self._forget, request.name), partial(self._note_card, request.name)
        return Reservation(group, request.resources, forget, note_card)

    def _forget(self, name: str) -> None:
        self._held.pop(name, None)

    def _note_card(self, name: str, card: str | None) -> None:
        if name in self._held:
            self._held[name] = replace(self._held[name], card=card)


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
        replicas: Replicas,
    ) -> None:
        self._device, self._timeout, self._grows, self._dtype = device, timeout, grows, dtype
        self._limits, self._replicas, self._places = limits or {}, replicas, HeldPlaces(replicas)
        self._waiting: dict[str, PlaceRequest] = {}
        self._placing = asyncio.Lock()  # A place that is free, or is being made, is not for two.

    async def reserve(self, name: str, model: ModelConfig) -> Reservation:
        """Reserve a place for a replica on the node where it costs least; idle replicas leave memory for it.

        Args:
            name: Name of the replica.
            model: The model.

        Raises:
            CapacityError: There is no place in time, no node could ever hold the model, or pinned ones hold its place.
        """
        request = PlaceRequest(name, model.name, await self.resources(model))
        if not self._grows:
            await asyncio.to_thread(check_possible, request, self._places.pinned())
        self._waiting[name] = request
        try:
            reserved = await self._reserve(request, time.monotonic() + self._timeout)
        finally:
            self._waiting.pop(name, None)
        async with reserved.kept():
            self._places.add(name, HeldPlace(model.name, await reserved.node(), request.resources))
        self._replicas.end_wait(name)
        return reserved

    def holds(self, name: str) -> bool:
        """Return whether a replica has a place."""
        return name in self._places

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
        request = PlaceRequest("", model.name, await self.resources(model))
        async with self._placing:
            if any(each.resources.keys() & request.resources for each in self._waiting.values()):
                return False  # One that is requested already is first.
            place = await self._places.find(request)
        return place is not None and place.seconds <= value

    async def resources(self, model: ModelConfig) -> dict[str, float]:
        """Return what a replica of a model reserves."""
        weights = await asyncio.to_thread(size_on_disk, model)
        nodes = await asyncio.to_thread(node_resources)
        device = device_type(next(iter(model.device_names), None) or model.device or self._device)
        needed = await asyncio.to_thread(_bytes_needed, model, device, self._dtype)
        limit = accelerator_limit(self._limits, device)
        return replica_resources(device, weights, nodes, needed, limit, model.device_count)

    async def _reserve(self, request: PlaceRequest, end: float) -> Reservation:
        """Reserve a place once a node has one, unloading what becomes idle or has to give its place.

        Raises:
            CapacityError: None has it in time.
        """
        if reserved := await self._reserve_on_node(request):
            return reserved
        # What waits in the cluster takes each place that becomes free, also what leaves it for a replica that needs more
        # than that; only an autoscaler needs to see it.
        pending = await self._places.create(request, None) if self._grows else None
        async with pending.kept() if pending else contextlib.nullcontext():
            while True:
                if (yielding := self._replicas.yielding(request.name)) and (
                    found := await self._places.find(request, yielding)
                ):
                    self._replicas.let_yield(request.name, found.evicted)
                if pending is None:
                    await asyncio.sleep(POLL)
                elif await pending.wait(POLL):
                    return pending
                if reserved := await self._reserve_on_node(request, pending):
                    return reserved
                if time.monotonic() >= end:
                    error = _no_place(request, f"in {self._timeout:g} seconds")
                    error.retry_after = RETRY_SECONDS
                    raise error

    async def _reserve_on_node(self, request: PlaceRequest, pending: Reservation | None = None) -> Reservation | None:
        """Reserve a place on the node where it costs least; return None where there is none, or it is lost or taken.

        Nothing is reserved for others meanwhile, so that what leaves memory for this place is not let back into it.

        Args:
            request: What is requested.
            pending: What waits for any node already; it may get the place.
        """
        async with self._placing:
            if (place := await self._places.find(request)) is None:
                return None
            if place.evicted:
                await self._replicas.evict(place.evicted, request.name)
            reserved = pending or await self._places.create(request, place.device)
            async with reserved.kept():
                if await reserved.wait(FREE_TIMEOUT):
                    return reserved
                request.refused[place.device] = (await asyncio.to_thread(available_by_node)).get(place.device, {})
        if reserved is not pending:
            await asyncio.shield(reserved.release())
        self._replicas.end_wait(request.name)  # What has left may have a place elsewhere.
        return None


def node_resources() -> Sequence[Resources]:
    """Return all resources of each node that is alive."""
    return [node["Resources"] for node in all_nodes() if node["Alive"]]


def check_possible(request: PlaceRequest, pinned: Mapping[str, HeldPlace]) -> None:
    """Refuse a model that no node could hold.

    Args:
        request: What is requested.
        pinned: The places that are not given up for it, by the names of their replicas.

    Raises:
        CapacityError: No node has these resources, even if it were idle, or without what is pinned there.
    """
    nodes = {node["NodeID"]: dict(node["Resources"]) for node in all_nodes() if node["Alive"]}
    if not has_room(request.resources, nodes.values()):
        raise _no_place(request, "even if it were idle")
    for place in pinned.values():
        left = nodes.get(place.node, {})
        left.update({name: left.get(name, 0.0) - amount for name, amount in place.resources.items()})
    if not has_room(request.resources, nodes.values()):
        raise all_pinned(request.model, f"models that hold its place, {', '.join(sorted(pinned))},")


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


def _no_place(request: PlaceRequest, when: str) -> CapacityError:
    return CapacityError(
        f"No node of the cluster has {describe_resources(request.resources)} for model '{request.model}' {when}.",
        hint="Add a node, free one by `octabox stop MODEL`, or set `cluster_grows` if an autoscaler adds nodes.",
        model=request.model,
    )
