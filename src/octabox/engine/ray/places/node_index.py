"""The nodes of a cluster and the places on them, indexed so that no decision looks at all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from octabox.engine.local.resident.room import ResidentModel
from octabox.engine.ray.node_placement import HeldPlace, NodeChoice, PlaceRequest
from octabox.engine.ray.places.card_sizes import CardSizes
from octabox.engine.ray.places.layout import Kind, Part, foreign_resources, kind_of, parts_of
from octabox.engine.ray.places.node_devices import NodeDevices
from octabox.engine.ray.places.snapshot import NodeResources
from octabox.engine.ray.resources import Resources, card_bytes


@dataclass
class _Node:
    """A node with the places of this server there, and its devices."""

    resources: NodeResources
    held: dict[str, HeldPlace] = field(default_factory=dict)
    foreign: Resources = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)


class NodeIndex:
    """The nodes, and the places on them. A decision looks at the first devices of each class, never at all nodes.

    Args:
        find: Returns a replica by its name.
    """

    def __init__(self, find: Callable[[str], ResidentModel | None]) -> None:
        self._nodes: dict[str, _Node] = {}
        self._places: dict[str, HeldPlace] = {}
        self._devices, self._sizes = NodeDevices(find), CardSizes()
        #: Ids of the nodes where others hold something, which may become less without a change of what is free.
        self.shared: set[str] = set()

    def resources(self, node: str) -> NodeResources:
        """Return what Ray reports of a node; nothing where it was lost."""
        return self._nodes[node].resources if node in self._nodes else NodeResources({}, {})

    def totals(self) -> dict[str, Resources]:
        """Return all resources of each node that takes replicas, by its id."""
        return {name: node.resources.total for name, node in self._nodes.items() if not node.resources.draining}

    def update(self, name: str, resources: NodeResources | None) -> None:
        """Add a node or change it; None removes it, while the places there are known until they are given up.

        Args:
            name: Its id.
            resources: What Ray reports of it.
        """
        before = self._nodes.pop(name, None)
        self.shared.discard(name)
        if before is not None:
            self._sizes.count(before.resources, -1)
        if resources is None:
            self._devices.remove(before.parts if before else ())
            return
        held = before.held if before else {key: each for key, each in self._places.items() if each.node == name}
        parts = before.parts if before else []
        node = self._nodes[name] = _Node(resources, held, foreign_resources(resources, held.values()), parts)
        if node.foreign:
            self.shared.add(name)
        self._sizes.count(resources, 1)
        self._divide(name, node)

    def update_shared(self) -> None:
        """Compute again what others hold on nodes."""
        for name in list(self.shared):
            self.update(name, self._nodes[name].resources)

    def put(self, name: str, place: HeldPlace) -> None:
        """Add the place of a replica, or change it."""
        if name in self._places and self._places[name].node != place.node:
            self.remove(name)
        self._places[name] = place
        if node := self._nodes.get(place.node):
            node.held[name] = place
            self._divide(place.node, node)

    def remove(self, name: str) -> None:
        """Remove the place of a replica, if it has one."""
        place = self._places.pop(name, None)
        if place is not None and (node := self._nodes.get(place.node)):
            node.held.pop(name, None)
            self._divide(place.node, node)

    def refresh(self, names: Iterable[str]) -> None:
        """Read again whether replicas are in use, and when they were used."""
        for name in names:
            place = self._places.get(name)
            node = self._nodes.get(place.node) if place else None
            for part in node.parts if node else ():
                if name in part.held and place:
                    self._devices.put_replica(part, name, place.model)
                    self._devices.put_device(part)

    def sizes(self, request: PlaceRequest) -> list[int]:
        """Return the bytes of the accelerators that a replica may be on; 0 is a size that is not declared."""
        return [size for sizes in self._preferred(request) for size in sizes]

    def _preferred(self, request: PlaceRequest) -> list[list[int]]:
        """Return these sizes, the best ones first."""
        failed = [self._nodes[each].resources for each in request.failed.nodes if each in self._nodes]
        return self._sizes.suitable(request.need, request.failed.too_small, failed)

    def suitable(self, request: PlaceRequest) -> dict[str, Resources]:
        """Return all resources of the nodes that a replica may be on, by their ids: those with large enough accelerators."""
        sizes = self.sizes(request) if request.need.accelerators else None
        return {
            name: total
            for name, total in self.totals().items()
            if name not in request.failed.nodes and (sizes is None or (total.get("GPU") and card_bytes(total) in sizes))
        }

    def choose(self, request: PlaceRequest, yielding: Collection[str] = ()) -> NodeChoice | None:
        """Return the place for a replica that costs least; None if no node can have one free.

        Args:
            request: What is requested.
            yielding: Names of replicas in use that give, or have given, their places to it.
        """
        refusing = [
            name
            for name in request.refused
            if request.is_refused(name, self.resources(name).free) and name in self._nodes
        ]
        with self._prepared(yielding, refusing):
            while True:
                for part in (part for name in refusing for part in self._nodes[name].parts):
                    self._devices.fill(part, request.need)
                found = self._best(request)
                in_use = [name for name in found.evicted if not self._devices.may_leave(name)] if found else []
                if not in_use:
                    return found
                self.refresh(in_use)  # They have come into use since they were read.

    def _best(self, request: PlaceRequest) -> NodeChoice | None:
        """Return the best place, as the index describes the cluster."""
        failed = (self._nodes[each] for each in request.failed.nodes if each in self._nodes)
        excluded = [part.device.name for node in failed for part in node.parts]
        of = kind_of(request.need)
        for sizes in self._preferred(request) if request.need.accelerators else [[0]]:
            found = [place for size in sizes if (place := self._devices.choose(Kind(of, size), request, excluded))]
            if found:
                return min(found, key=lambda each: each[0])[1]
        return None

    @contextmanager
    def _prepared(self, yielding: Collection[str], refusing: Iterable[str]) -> Iterator[None]:
        """Describe replicas that make room as idle within the context, and nodes again as they are after it."""
        self._devices.yielding = frozenset(yielding)
        self.refresh(yielding)
        try:
            yield
        finally:
            self._devices.yielding = frozenset()
            self.refresh(yielding)
            for name in refusing:
                self._divide(name, self._nodes[name])

    def _divide(self, name: str, node: _Node) -> None:
        """Index the devices of a node again."""
        staying = {key: place for key, place in node.held.items() if not place.leaving}
        parts = parts_of(name, node.resources, staying, node.foreign)
        before = {part.key: part.held for part in node.parts}
        same = {part.key for part in parts if before.get(part.key) == part.held}
        self._devices.remove(part for part in node.parts if part.key not in same)
        node.parts = parts
        for part in parts:
            self._devices.put_device(part)
            for key in part.held if part.key not in same else ():
                self._devices.put_replica(part, key, node.held[key].model)
