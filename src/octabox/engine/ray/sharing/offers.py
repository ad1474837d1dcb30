"""Which idle replicas of several servers make room for a replica of one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from octabox.engine.ray.resources import Resources

#: Part of a resource that may be missing, since shares are sums of fractions.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Offer:
    """An idle replica of a server, which leaves memory where another server needs its place.

    Args:
        server: Id of the server.
        name: Name of the replica there.
        node: Id of its node.
        resources: What it has reserved there.
        value: Seconds that unloading it is expected to cost.
        last_used: When it last served a request, in seconds since the epoch.
        card: Id of its accelerator there; None where it has none or several, or that is not known.
    """

    server: str
    name: str
    node: str
    resources: Resources
    value: float = 0.0
    last_used: float = 0.0
    card: str | None = None


@dataclass(frozen=True)
class PlaceCall:
    """The call of a server to another one to give it the places of some replicas.

    Args:
        id: Its id.
        to: Id of the server that has the replicas.
        names: Their names there.
        model: Name of the model that needs the places.
        resources: What a replica of that reserves.
        since: Since when it waits, in seconds since the epoch.
    """

    id: str
    to: str
    names: tuple[str, ...]
    model: str
    resources: Resources
    since: float


def has_priority(call: PlaceCall, waiting: Iterable[tuple[Resources, float]]) -> bool:
    """Return whether a server gives another one the places that it has called for: what waits longer is first.

    Args:
        call: The call.
        waiting: What replicas of the server itself reserve that wait for places, and since when.
    """
    return all(since >= call.since or not resources.keys() & call.resources.keys() for resources, since in waiting)


def choose_offers(
    resources: Resources, free: Mapping[str, Resources], cards: Mapping[str, int], offers: Iterable[Offer]
) -> Sequence[Offer]:
    """Return the replicas that leave memory for a place, those whose unload costs least; none where that is not possible.

    Whether a place is free is known to the server that calls: what a node states as free may be in parts of several
    accelerators, or of ones that are too small. Shares of one accelerator add up, those of several do not.

    Args:
        resources: What the place has.
        free: The free resources of each node that is alive, by its id.
        cards: How many accelerators each node has, by its id.
        offers: The idle replicas of all servers.
    """
    there: dict[str, list[Offer]] = {}
    for offer in offers:
        there.setdefault(offer.node, []).append(offer)
    plans = [
        plan
        for node in free.keys() & there.keys()
        for room in _rooms(resources, free[node], there[node], cards.get(node, 0))
        if (plan := _plan(resources, room))
    ]
    return min(plans, key=lambda plan: (sum(e.value for e in plan), max(e.last_used for e in plan)), default=())


@dataclass(frozen=True)
class _Room:
    """A node, or one of its accelerators: what is free there, and what may be."""

    free: Resources
    offers: Sequence[Offer] = field(default=())


def _rooms(resources: Resources, free: Resources, offers: Sequence[Offer], count: int) -> list[_Room]:
    """Return where on a node the place can be."""
    needed = resources.get("GPU", 0.0)
    if not needed or count < 2:  # noqa: PLR2004 (nothing to add up)
        return [_Room(free, offers)]
    if needed > 1:  # Complete accelerators: what is free of several in parts is of no use.
        complete = [each for each in offers if each.resources.get("GPU", 0.0) >= 1]
        return [_Room({**free, "GPU": float(int(free.get("GPU", 0.0) + TOLERANCE))}, complete)]
    rooms: dict[str, list[Offer]] = {}
    for number, each in enumerate(offers):  # One whose accelerator is not known is alone on it.
        rooms.setdefault(each.card or f"? {number}", []).append(each)
    # On which accelerator the rest is free is not known.
    return [_Room({**free, "GPU": 0.0}, each) for each in rooms.values()]


def _plan(resources: Resources, room: _Room) -> Sequence[Offer]:
    """Return what leaves a place, cheapest for what it frees first, without what the others make superfluous."""
    scarce = min(resources, key=lambda name: room.free.get(name, 0.0) / resources[name])
    useful = [each for each in room.offers if each.resources.get(scarce, 0.0) > 0]
    taken: list[Offer] = []
    for each in sorted(useful, key=_cost_of(scarce)):
        if _suffices(resources, room.free, taken):
            break
        taken.append(each)
    if not _suffices(resources, room.free, taken):
        return ()
    for each in sorted(taken, key=lambda offer: -offer.value):
        rest = [other for other in taken if other is not each]
        if _suffices(resources, room.free, rest):
            taken = rest
    return taken


def _cost_of(resource: str) -> Callable[[Offer], tuple[float, float, str, str]]:
    """Return the function of the order in which replicas leave memory for a resource."""
    return lambda each: (each.value / each.resources[resource], each.last_used, each.server, each.name)


def _suffices(resources: Resources, free: Resources, taken: Sequence[Offer]) -> bool:
    """Return whether there is a place once these replicas have left."""
    return all(
        free.get(name, 0.0) + sum(each.resources.get(name, 0.0) for each in taken) >= amount * (1 - TOLERANCE)
        for name, amount in resources.items()
    )


def offer_of(data: Mapping[str, object], server: str) -> Offer:
    """Return an offer of a server, which must not be in the name of another one.

    Raises:
        TypeError: It is of another version of Octabox.
    """
    return replace(Offer(**data), server=server)  # type: ignore[arg-type]
