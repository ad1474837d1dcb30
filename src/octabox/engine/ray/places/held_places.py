"""The places that replicas hold, or are about to get, on the nodes of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial

from octabox.engine.ray.node_placement import FailedPlaces, HeldPlace, NodeChoice, PlaceRequest, Replicas
from octabox.engine.ray.placement_groups import NODE_LABEL, Reservation, create_group
from octabox.engine.ray.places.node_index import NodeIndex
from octabox.engine.ray.places.possible import check_possible
from octabox.engine.ray.places.snapshot import NodeReader, NodeResources
from octabox.engine.ray.resources import Resources, card_bytes

#: How many nodes are indexed without letting anything else run.
CHUNK = 10


class HeldPlaces:
    """The places that replicas hold on nodes, and where there is, or can be, one for another replica.

    Args:
        replicas: The replicas in memory, of which idle ones make room.
    """

    def __init__(self, replicas: Replicas) -> None:
        self._replicas, self._reader = replicas, NodeReader(self._update)
        self.nodes = NodeIndex(replicas.find)
        self._held: dict[str, HeldPlace] = {}
        #: The places that others give up for replicas which wait for them.
        self._evicted_for: dict[str, tuple[str, ...]] = {}
        #: Where each replica was last, and where it could not be loaded, until its load has ended.
        self._last: dict[str, HeldPlace] = {}
        self._failed: dict[str, FailedPlaces] = {}

    def __contains__(self, name: str) -> bool:
        """Return whether a replica has a place."""
        return name in self._held and not self._held[name].coming

    def __getitem__(self, name: str) -> HeldPlace:
        """Return the place of a replica."""
        return self._held[name]

    async def refresh(self) -> None:
        """Read what Ray reports of the nodes."""
        await self._reader.read()

    def find(self, request: PlaceRequest, yielding: Collection[str] = ()) -> NodeChoice | None:
        """Return the node where a place costs least, and what is unloaded there; None if no node can have one free.

        Args:
            request: What is requested.
            yielding: Names of replicas in use that may be unloaded as well, once their calls are done.
        """
        self.nodes.refresh(self._replicas.take_changed())
        return self.nodes.choose(request, [*self._replicas.yielded(request.name), *yielding])

    def keep(self, request: PlaceRequest, choice: NodeChoice) -> None:
        """Keep a place for a replica that waits for it, in the place of those that are unloaded for it."""
        self._evicted_for[request.name] = choice.evicted
        for name in choice.evicted:
            self._put(name, replace(self._held[name], leaving=True))
        self._put(request.name, HeldPlace(request.model, choice.node, choice.resources, coming=True))

    def add(self, name: str, place: HeldPlace) -> None:
        """Add the place of a replica, which has it now."""
        self.remove(name)
        self._put(name, place)
        self._last[name] = place

    def remove(self, name: str) -> None:
        """Remove the place of a replica; what was to leave for it and has not is counted again."""
        self._held.pop(name, None)
        self.nodes.remove(name)
        for each in self._evicted_for.pop(name, ()):
            if each in self._held:
                self._put(each, replace(self._held[each], leaving=False))

    def pinned(self) -> dict[str, HeldPlace]:
        """Return the places of replicas that are pinned, by their names."""
        return {
            name: place for name, place in self._held.items() if (each := self._replicas.find(name)) and each.pinned
        }

    def check_possible(self, request: PlaceRequest) -> None:
        """Refuse a model that no node could hold.

        Raises:
            OutOfMemoryError: The model does not offload, and needs more than an accelerator has.
            CapacityError: No node has these resources, even if it were idle, or without what is pinned there.
        """
        check_possible(request, self.nodes.suitable(request), self.nodes.totals(), self.pinned())

    async def create(self, request: PlaceRequest, resources: Resources, node: str | None) -> Reservation:
        """Create a reservation on a node, or on any that is suitable, which waits for the place."""
        labels = {NODE_LABEL: node} if node is not None else self._labels(request)
        group = await create_group(resources, labels)
        return Reservation(group, resources, partial(self.remove, request.name), partial(self._note_card, request.name))

    def failed(self, name: str) -> FailedPlaces:
        """Return where a replica could not be loaded."""
        return self._failed.get(name, FailedPlaces())

    def note_failure(self, name: str, *, memory: bool) -> bool:
        """Note that a replica could not be loaded in its last place; return whether it had one.

        Args:
            name: Name of the replica.
            memory: Whether memory was missing there, so that an accelerator must have more.
        """
        place = self._last.pop(name, None)
        if place is None:
            return False
        failed = self._failed.setdefault(name, FailedPlaces())
        size = card_bytes(self.nodes.resources(place.node).total) if memory and "GPU" in place.resources else 0
        if size:
            failed.too_small = max(failed.too_small, size)
        else:
            failed.nodes.add(place.node)
        return True

    def forget_failures(self, name: str) -> None:
        """Forget where a replica could not be loaded, since its load has ended."""
        self._last.pop(name, None)
        self._failed.pop(name, None)

    def _labels(self, request: PlaceRequest) -> Mapping[str, str]:
        """Return the labels of the nodes that are suitable for a replica, those that join later included; none for all."""
        nodes = self.nodes.totals()
        suitable = self.nodes.suitable(request)
        # Ray itself spares those that lack the resource.
        unsuitable = sorted(name for name in nodes.keys() - suitable.keys() if not _lacks(request, nodes[name]))
        return {NODE_LABEL: f"!in({','.join(unsuitable)})"} if unsuitable else {}

    def _put(self, name: str, place: HeldPlace) -> None:
        self._held[name] = place
        self.nodes.put(name, place)

    def _note_card(self, name: str, card: str | None) -> None:
        if name in self._held:
            self._put(name, replace(self._held[name], card=card))

    async def _update(self, changed: Mapping[str, NodeResources | None]) -> None:
        """Index nodes that have changed."""
        for number, (name, resources) in enumerate(changed.items(), 1):
            self.nodes.update(name, resources)
            if number % CHUNK == 0:
                await asyncio.sleep(0)
        self.nodes.update_shared()


def _lacks(request: PlaceRequest, total: Resources) -> bool:
    """Return whether a node has none of a resource that a replica needs."""
    return any(not total.get(name) for name in request.need.resources())
