"""On which node a replica is placed, and what is unloaded there, decided as for the devices of one machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from octabox.engine.cluster.eviction import plan_eviction
from octabox.engine.cluster.placement import Placement
from octabox.engine.cluster.state import Replica
from octabox.engine.local.resident.room import ResidentModel, as_replica
from octabox.engine.ray.resources import Resources

#: Units of the amount of a resource that a replica reserves: what is unloaded is planned in whole numbers.
PLACE = 10_000


@dataclass(frozen=True)
class HeldPlace:
    """The place of a replica.

    Args:
        model: Name of its model.
        node: Id of its node.
        resources: What it has reserved there.
        card: Id of its accelerator there; None where it has none, or until that is known.
    """

    model: str
    node: str
    resources: Resources
    card: str | None = None


@dataclass(frozen=True)
class PlaceRequest:
    """A place that a replica needs.

    Args:
        name: Name of the replica.
        model: Name of its model.
        resources: What it reserves.
        refused: The nodes that did not give a place that seemed to be free, with what was free there.
    """

    name: str
    model: str
    resources: Resources
    refused: dict[str, Resources] = field(default_factory=dict)

    def still_refused(self, free: Mapping[str, Resources]) -> list[str]:
        """Return the nodes that would refuse it again, since what is free there has not changed.

        Args:
            free: The free resources of each node that is alive, by its id.
        """

        def differs(node: str, left: Resources) -> bool:
            return any(left.get(name) != free[node].get(name) for name in self.resources)

        return [node for node, left in self.refused.items() if node in free and not differs(node, left)]


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

    async def evict(self, names: Collection[str], other: str) -> None:
        """Unload replicas for another one, until whose `end_wait` they take no requests.

        There must be no await between the decision and this, so that no request comes between.
        """


@dataclass
class _Room:
    """A node, or one of its accelerators: what is free there, and the places that replicas hold."""

    left: dict[str, float]
    held: dict[str, HeldPlace]


def choose_node(
    model: str,
    resources: Resources,
    free: Mapping[str, Resources],
    held: Mapping[str, HeldPlace],
    residents: Mapping[str, ResidentModel],
    cards: Mapping[str, int] | None = None,
    refused: Collection[str] = (),
    leaving: Collection[str] = (),
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
        cards: How many accelerators each node has, by its id.
        refused: Nodes that did not give a place that seemed to be free: something must be unloaded there.
        leaving: Names of replicas in use that give, or have given, their places to this one.
    """
    found: list[tuple[float, float, str, Placement]] = []
    for node, left in free.items():
        scarce = _by_scarcity(resources, left)[0]
        there = {name: place for name, place in held.items() if place.node == node}
        same = sum(place.model == model for place in there.values())
        spared = "GPU" not in resources and left.get("GPU", 0.0) > 0
        order = same + spared / 2 - min(left.get(scarce, 0.0) / resources[scarce], 1e6) / 1e7
        for room in _rooms(resources, left, there, (cards or {}).get(node, 0)):
            if node in refused:
                room.left[scarce] = min(room.left.get(scarce, 0.0), resources[scarce] * (1 - 1 / PLACE))
            evicted = _plan(resources, room, residents, leaving)
            if evicted is not None:
                cost = sum(residents[name].keep_value for name in evicted)
                found.append((cost, order, node, Placement(node, tuple(evicted), cost)))
    return min(found, key=lambda each: each[:3])[3] if found else None


def _rooms(resources: Resources, left: Resources, there: Mapping[str, HeldPlace], count: int) -> list[_Room]:
    """Return where on a node the place can be: on one of its accelerators, since what is free of several does not add up.

    Args:
        resources: What a replica reserves.
        left: The free resources of the node.
        there: The places that replicas hold there.
        count: How many accelerators the node has.
    """
    if count < 2 or "GPU" not in resources or resources["GPU"] > 1:  # noqa: PLR2004 (nothing to add up, or all of several)
        return [_Room(dict(left), dict(there))]
    several = {name: place for name, place in there.items() if place.resources.get("GPU", 0.0) > 1}
    if several:
        # What leaves several accelerators leaves room on one; the others are those of models on one each.
        rest = {name: place for name, place in there.items() if name not in several}
        count -= round(sum(place.resources["GPU"] for place in several.values()))
        rooms = [_Room({**left, "GPU": 0.0}, {name: place}) for name, place in several.items()]
        return [*rooms, *(_rooms(resources, left, rest, count) if count > 1 else [_Room(dict(left), rest)])]
    on_card: dict[str, dict[str, HeldPlace]] = {}
    for name, place in there.items():
        if place.card is not None:
            on_card.setdefault(place.card, {})[name] = place
    held = [*on_card.values(), *({} for _ in range(count - len(on_card)))]
    shares = [sum(place.resources.get("GPU", 0.0) for place in each.values()) for each in held]
    rooms = [_Room({**left, "GPU": 1.0 - share}, each) for share, each in zip(shares, held, strict=True)]
    # What other servers and replicas that start hold is on cards that are not known. Ray fills up the fullest first.
    unknown = count - sum(shares) - left.get("GPU", 0.0)
    for room in rooms:
        if unknown >= 1 and not room.held:
            room.left["GPU"] = 0.0
            unknown -= 1
    for room in sorted(rooms, key=lambda each: each.left["GPU"]):
        taken = min(max(unknown, 0.0), room.left["GPU"])
        room.left["GPU"] -= taken
        unknown -= taken
    return rooms


def _plan(
    resources: Resources, room: _Room, residents: Mapping[str, ResidentModel], leaving: Collection[str]
) -> list[str] | None:
    """Return what is unloaded so that all resources suffice for a replica; None if that is not possible.

    Args:
        resources: What a replica reserves.
        room: Where.
        residents: The replicas in memory by their names.
        leaving: Names of those in use that may be unloaded.
    """
    left, evicted = dict(room.left), list[str]()
    for resource in _by_scarcity(resources, left):
        needed = resources[resource]
        candidates = [
            _candidate(residents[name], place.resources.get(resource, 0.0) / needed, in_use=name not in leaving)
            for name, place in room.held.items()
            if name in residents and name not in evicted
        ]
        missing = round(PLACE * (1 - left.get(resource, 0.0) / needed))
        plan = plan_eviction([each for each in candidates if each.size], missing, _value_of(residents))
        if plan is None:
            return None
        for each in plan:
            evicted.append(each.name)
            for name, amount in room.held[each.name].resources.items():
                left[name] = left.get(name, 0.0) + amount
    # Those that a later resource needs may have made earlier ones superfluous.
    for name in sorted(evicted, key=lambda each: -residents[each].keep_value):
        without = {each: left.get(each, 0.0) - room.held[name].resources.get(each, 0.0) for each in resources}
        if all(round(PLACE * (1 - without[each] / resources[each])) <= 0 for each in resources):
            left |= without
            evicted.remove(name)
    return evicted


def _candidate(resident: ResidentModel, share: float, *, in_use: bool) -> Replica:
    """Return a replica that may be unloaded, by its share of what is needed; it may be only where it is idle, or not in use."""
    replica = replace(as_replica(resident, None), size=round(PLACE * share))
    return replica if in_use else replace(replica, waiting=0)


def _by_scarcity(resources: Resources, left: Resources) -> list[str]:
    """Return the names of resources, that of which a node has the least for a replica first."""
    return sorted(resources, key=lambda name: left.get(name, 0.0) / resources[name])


def _value_of(residents: Mapping[str, ResidentModel]) -> Callable[[Replica], float]:
    """Return the function of what unloading a replica costs."""
    return lambda replica: residents[replica.name].keep_value
