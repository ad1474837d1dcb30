"""On which node a replica is placed, and what is unloaded there, decided as for the devices of one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from octabox.engine.cluster.index import ClusterIndex
from octabox.engine.cluster.placement import Placement, choose_device
from octabox.engine.cluster.state import Device, Replica
from octabox.engine.local.resident.room import ResidentModel, as_replica
from octabox.engine.ray.resources import Resources

#: Units of a place for one replica: those of a node are counted by the resource that it lacks most.
PLACE = 10_000


@dataclass(frozen=True)
class HeldPlace:
    """The place of a replica.

    Args:
        model: Name of its model.
        node: Id of its node.
        resources: What it has reserved there.
    """

    model: str
    node: str
    resources: Resources


def choose_node(
    model: str,
    resources: Resources,
    free: Mapping[str, Resources],
    held: Mapping[str, HeldPlace],
    residents: Mapping[str, ResidentModel],
) -> Placement | None:
    """Return the node where a place for a replica costs least; None if no node can have one free.

    Of equal ones, it is one without a replica of the model, for a model on a CPU one without accelerators, and that with the
    most room.

    Args:
        model: Name of the model.
        resources: What a replica reserves.
        free: The free resources of each node that is alive, by its id.
        held: The places of replicas, by their names.
        residents: The replicas in memory by their names, of which idle ones may be unloaded.
    """
    index = ClusterIndex()
    for node, left in free.items():
        scarce = min(resources, key=lambda name, left=left: left.get(name, 0.0) / resources[name])  # type: ignore[misc]
        there = {name: place for name, place in held.items() if place.node == node}
        sizes = {
            name: round(PLACE * place.resources.get(scarce, 0.0) / resources[scarce])
            for name, place in there.items()
            if name in residents
        }
        room = round(PLACE * left.get(scarce, 0.0) / resources[scarce])
        same = sum(place.model == model for place in there.values())
        spared = "GPU" not in resources and left.get("GPU", 0.0) > 0
        # None of them waits, so that this decides between places that cost nothing.
        order = same + spared / 2 - min(room / PLACE, 1e6) / 1e7
        index.put_device(Device(node, room + sum(sizes.values()), node, busy_until=order - 1e6))
        for name, size in sizes.items():
            index.put(replace(as_replica(residents[name], None), device=node, size=size))

    def value(replica: Replica) -> float:
        return residents[replica.name].keep_value

    return choose_device(index, "", PLACE, 0.0, value, 0.0)
