"""The devices of nodes in the index of decisions: where a place costs least is decided as for the devices of one machine."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.placement import choose_device, rank_of
from octabox.engine.cluster.state import ModelCosts, Replica
from octabox.engine.local.resident.room import ResidentModel
from octabox.engine.ray.node_placement import NodeChoice, PlaceRequest
from octabox.engine.ray.places.layout import Kind, Part, amount_of
from octabox.engine.ray.resources import ReplicaNeed

#: By so many seconds one more unit of room puts a device before others, so that it counts more than when it was used.
ROOM_SECONDS = 1e10

#: What a load is taken to take, by which the replicas of a model are spread over nodes.
LOAD_SECONDS = ModelCosts().load_seconds


class NodeDevices:
    """The devices of all nodes, with the replicas on them: those of a kind in one index.

    Args:
        find: Returns a replica by its name.
    """

    def __init__(self, find: Callable[[str], ResidentModel | None]) -> None:
        self._find = find
        self._indexes: defaultdict[Kind, ClusterIndex] = defaultdict(ClusterIndex)
        #: The replicas in use that make room for the request which is decided about.
        self.yielding = frozenset[str]()

    def choose(
        self, kind: Kind, request: PlaceRequest, excluded: Collection[str]
    ) -> tuple[tuple[float, float, str], NodeChoice] | None:
        """Return the device of a kind where a place costs least, with its rank; None if none can have it free.

        Args:
            kind: The kind.
            request: What is requested.
            excluded: Names of devices that must not be used.
        """
        index, resources = self._indexes[kind], request.need.resources(kind.card)
        size, cpus = amount_of(resources)
        place = choose_device(
            index, request.model, size, time.time(), self._value, LOAD_SECONDS, excluded, processors=cpus
        )
        if place is None:
            return None
        node, rank = index.device(place.device).node, rank_of(index, request.model, place, LOAD_SECONDS)
        return rank, NodeChoice(node, resources, place.evicted, place.cost)

    def put_device(self, part: Part) -> None:
        """Add a device, or change when it was used; the one with the most room is first, then the one used the longest ago."""
        used = max((each.last_used for name in part.held if (each := self._find(name))), default=0.0)
        self._indexes[part.kind].put_device(replace(part.device, busy_until=used - ROOM_SECONDS * part.room))

    def put_replica(self, part: Part, name: str, model: str) -> None:
        """Add a replica on a device, or change it by what is known of it now.

        Args:
            part: The device.
            name: Name of the replica.
            model: Name of its model.
        """
        found, (size, cpus) = self._find(name), part.held[name]
        used, pinned = (found.last_used, found.pinned) if found else (0.0, False)
        waiting = 0 if self.may_leave(name) else 1
        replica = Replica(name, model, part.device.name, size, used, waiting, pinned=pinned, processors=cpus)
        self._indexes[part.kind].put(replica)

    def remove(self, parts: Iterable[Part]) -> None:
        """Remove devices with the replicas on them."""
        for part in parts:
            self._indexes[part.kind].remove_device(part.device.name)

    def fill(self, part: Part, need: ReplicaNeed) -> None:
        """Let a device lack a little for a replica, so that something must be unloaded there."""
        index, (size, cpus) = self._indexes[part.kind], amount_of(need.resources(part.kind.card))
        device = index.device(part.device.name)
        if device.processors is None:
            over = max(0, index.free_bytes(device.name) - size + 1)
            index.put_device(replace(device, total=device.total - over))
        else:
            over = max(0, index.free_processors(device.name) - cpus + 1)
            index.put_device(replace(device, processors=device.processors - over))

    def may_leave(self, name: str) -> bool:
        """Return whether a replica is unloaded for the request that is decided about: it is idle, or makes room for that."""
        found = self._find(name)
        return name in self.yielding or (found is not None and found.idle and not found.yields_to)

    def _value(self, replica: Replica) -> float:
        """Return what unloading a replica costs."""
        found = self._find(replica.name)
        return found.keep_value if found else 0.0
