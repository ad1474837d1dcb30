"""How a replica gets its place: it is reserved where that costs least, once what has to has left it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace

from octabox.engine.local.resident.capacity_errors import RETRY_SECONDS
from octabox.engine.ray.node_placement import NodeChoice, PlaceRequest, Replicas
from octabox.engine.ray.placement_groups import Reservation
from octabox.engine.ray.places.held_places import HeldPlaces
from octabox.engine.ray.places.possible import no_place

#: Seconds between two attempts to free a place for a replica that waits for one.
POLL = 0.5

#: Seconds in which a place that is free, or becomes free by an unload, is reserved, before another one is looked for.
FREE_TIMEOUT = 10.0


class PlaceSearch:
    """Reserves places for replicas, each of which may wait for its own.

    Args:
        places: The places that are held.
        replicas: The replicas in memory, of which idle ones make room.
        timeout: Seconds that a replica waits for a place.
        grows: Whether an autoscaler adds nodes.
    """

    def __init__(self, places: HeldPlaces, replicas: Replicas, timeout: float, *, grows: bool) -> None:
        self._places, self._replicas, self._timeout, self._grows = places, replicas, timeout, grows

    async def reserve(self, request: PlaceRequest) -> Reservation:
        """Reserve a place once a node has one, unloading what becomes idle or has to give its place.

        Args:
            request: What is requested.

        Raises:
            CapacityError: None has it in time.
        """
        end = time.monotonic() + self._timeout
        if reserved := await self._reserve_on_node(request):
            return reserved
        # What waits in the cluster takes each place that becomes free, also what leaves it for a replica that needs more
        # than that; only an autoscaler needs to see it.
        pending = await self._create_pending(request) if self._grows else None
        if pending and request.need.accelerators == 1:
            request = replace(request, need=replace(request.need, share=pending.resources["GPU"]))
        async with pending.kept() if pending else contextlib.nullcontext():
            while True:
                if (yielding := self._replicas.yielding(request.name)) and (
                    found := self._places.find(request, yielding)
                ):
                    self._replicas.let_yield(request.name, found.evicted)
                if pending is None:
                    await asyncio.sleep(POLL)
                elif await pending.wait(POLL):
                    return pending
                if reserved := await self._reserve_on_node(request, pending):
                    return reserved
                if time.monotonic() >= end:
                    error = no_place(request, f"in {self._timeout:g} seconds")
                    error.retry_after = RETRY_SECONDS
                    raise error

    async def _create_pending(self, request: PlaceRequest) -> Reservation:
        """Create a reservation on any node, with as much as it needs on the smallest of the suitable accelerators."""
        sizes = self._places.nodes.sizes(request) if request.need.accelerators else []
        resources = max((request.need.resources(size) for size in sizes or [0]), key=lambda each: each.get("GPU", 0.0))
        return await self._places.create(request, resources, None)

    async def _reserve_on_node(self, request: PlaceRequest, pending: Reservation | None = None) -> Reservation | None:
        """Reserve a place on the node where it costs least; return None where there is none, or it is lost or taken.

        From the decision on, the place is kept for the replica, also what leaves memory for it, so that others are decided
        about meanwhile.

        Args:
            request: What is requested.
            pending: What waits for any node already; it may get the place.
        """
        await self._places.refresh()
        if (choice := self._places.find(request)) is None:
            return None
        self._places.keep(request, choice)  # There must be no await between the decision and this.
        reserved = None
        try:
            reserved = await self._reserve_choice(request, choice, pending)
        finally:
            if reserved is None:
                self._places.remove(request.name)
        if reserved is None:
            self._replicas.end_wait(request.name)  # What has left may have a place elsewhere.
        return reserved

    async def _reserve_choice(
        self, request: PlaceRequest, choice: NodeChoice, pending: Reservation | None
    ) -> Reservation | None:
        """Unload what is in the place that was chosen, and reserve it; return None where it is lost or taken."""
        if choice.evicted:
            await self._replicas.evict(choice.evicted, request.name)
        reserved = pending or await self._places.create(request, choice.resources, choice.node)
        async with reserved.kept():
            if await reserved.wait(FREE_TIMEOUT):
                return reserved
            await self._places.refresh()
            request.refused[choice.node] = self._places.nodes.resources(choice.node).free
        if reserved is not pending:
            await asyncio.shield(reserved.release())
        return None
