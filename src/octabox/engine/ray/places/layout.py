"""How a node is divided into the devices that decisions are made about: its CPUs, each of its accelerators, and all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from octabox.engine.cluster.state import Device
from octabox.engine.ray.node_placement import HeldPlace
from octabox.engine.ray.places.snapshot import NodeResources
from octabox.engine.ray.resources import ReplicaNeed, Resources, card_bytes

#: Units of an accelerator: shares are compared as whole numbers.
CARD = 10_000

#: Bytes that an accelerator is taken to have where they are not declared, to compare nodes by what is free there.
UNKNOWN_BYTES = 2**30

#: What the room of a node without free accelerators is greater by, for a replica on a CPU.
NOT_SPARED = 1e5


class Kind(NamedTuple):
    """Devices that are compared with each other.

    Args:
        of: ``cpu``, ``card`` for one accelerator, or ``cards`` for those of a node together.
        card: Bytes of each accelerator; 0 where they are not declared.
    """

    of: str
    card: int = 0


@dataclass(frozen=True)
class Part:
    """A device of a node.

    Args:
        kind: What it is.
        device: It; when it was used is not set.
        held: The bytes, or units of accelerators, and the CPUs that replicas hold there, by their names.
        room: How much of the node is free: GiB of accelerators, or CPUs.
    """

    kind: Kind
    device: Device
    held: Mapping[str, tuple[int, int]]
    room: float

    @property
    def key(self) -> tuple[Kind, str]:
        """What it is known by."""
        return self.kind, self.device.name


@dataclass
class _Card:
    """An accelerator: units that are not of others, and the replicas there."""

    total: int = CARD
    held: dict[str, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return self.total - sum(self.held.values())


def kind_of(need: ReplicaNeed) -> str:
    """Return the devices that a replica is on."""
    return "cpu" if not need.accelerators else "card" if need.accelerators == 1 else "cards"


def amount_of(resources: Resources) -> tuple[int, int]:
    """Return what a replica holds of a device: its bytes, or units of accelerators, and CPUs."""
    if "GPU" in resources:
        return round(resources["GPU"] * CARD), 0
    return math.ceil(resources.get("memory", 0.0)), math.ceil(resources.get("CPU", 0.0))


def foreign_resources(node: NodeResources, held: Iterable[HeldPlace]) -> dict[str, float]:
    """Return what others hold on a node, such as other servers.

    Args:
        node: What Ray reports of it.
        held: The places of this server there; those that Ray does not count yet, too, so that they are not counted twice.
    """
    found = {}
    places = list(held)
    for name in ("CPU", "memory", "GPU"):
        ours = sum(each.resources.get(name, 0.0) for each in places)
        others = node.total.get(name, 0.0) - node.free.get(name, 0.0) - ours
        if others * CARD >= 1:
            found[name] = others
    return found


def parts_of(name: str, node: NodeResources, held: Mapping[str, HeldPlace], foreign: Resources) -> list[Part]:
    """Return the devices of a node.

    Args:
        name: Id of the node.
        node: What Ray reports of it.
        held: The places of this server there that are not being given up, by the names of their replicas.
        foreign: What others hold there.
    """
    on_cards = {each: place for each, place in held.items() if "GPU" in place.resources}
    cards = _cards(node.total.get("GPU", 0.0), on_cards, foreign.get("GPU", 0.0))
    parts, free = [], sum(max(card.free, 0) for card in cards)
    if node.total.get("CPU", 0.0) >= 1:
        parts.append(_cpus(name, node, held, foreign, spared=free > 0))
    if cards:
        size = card_bytes(node.total)
        room = free / CARD * (size or UNKNOWN_BYTES) / 2**30
        for number, card in enumerate(_distinct(cards)):
            device = Device(f"{name}/{number}", card.total, name, draining=node.draining)
            parts.append(
                Part(Kind("card", size), device, {each: (units, 0) for each, units in card.held.items()}, room)
            )
        total = round((node.total["GPU"] - foreign.get("GPU", 0.0)) * CARD)
        together = {each: amount_of(place.resources) for each, place in on_cards.items()}
        parts.append(Part(Kind("cards", size), Device(name, total, name, draining=node.draining), together, room))
    return parts


def _cpus(name: str, node: NodeResources, held: Mapping[str, HeldPlace], foreign: Resources, *, spared: bool) -> Part:
    """Return the CPUs of a node with its memory; a node with free accelerators is spared for those that need them."""
    there = {each: amount_of(place.resources) for each, place in held.items() if "GPU" not in place.resources}
    memory = math.floor(node.total.get("memory", 0.0) - foreign.get("memory", 0.0))
    cpus = math.floor(node.total["CPU"] - foreign.get("CPU", 0.0) + 1 / CARD)
    room = cpus - sum(each for _, each in there.values()) + (0.0 if spared else NOT_SPARED)
    device = Device(name, memory, name, draining=node.draining, processors=cpus)
    return Part(Kind("cpu"), device, there, room)


def _cards(count: float, held: Mapping[str, HeldPlace], foreign: float) -> list[_Card]:
    """Return the accelerators of a node, as far as it is known who is where.

    A replica that is split over several is on one with all units: what leaves them leaves room on each.

    Args:
        count: How many there are.
        held: The places there.
        foreign: What others hold of them.
    """
    split = {name: place for name, place in held.items() if place.resources["GPU"] > 1}
    left = count - sum(place.resources["GPU"] for place in split.values())
    numbers = [min(1.0, left - number) for number in range(math.ceil(max(left, 0.0)))]
    cards = [_Card(round(number * CARD)) for number in numbers]
    by_id: dict[str, _Card] = {}
    for name, place in sorted(held.items(), key=lambda each: (each[1].card is None, each[0])):
        if name in split:
            continue
        units = amount_of(place.resources)[0]
        found = by_id.get(place.card or "") or _fullest(cards, units, known=by_id.values() if place.card else ())
        if found is not None:
            found.held[name] = units
            if place.card:
                by_id[place.card] = found
    _take_foreign(cards, round(foreign * CARD))
    return [*(_Card(CARD, {name: CARD}) for name in split), *cards]


def _fullest(cards: Iterable[_Card], units: int, known: Iterable[_Card] = ()) -> _Card | None:
    """Return the fullest accelerator with so many units, as Ray chooses it; where none has, the one with the most."""
    others = [each for each in cards if not any(each is one for one in known)]
    roomy = [each for each in others if each.free >= units]
    return min(roomy, key=lambda each: each.free) if roomy else max(others, key=lambda each: each.free, default=None)


def _take_foreign(cards: Iterable[_Card], units: int) -> None:
    """Take units that others hold, on accelerators that are not known: whole ones without replicas, then the fullest."""
    for card in cards:
        if units >= CARD and not card.held:
            card.total, units = card.total - CARD, units - CARD
    for card in sorted(cards, key=lambda each: each.free):
        taken = min(units, max(card.free, 0))
        card.total, units = card.total - taken, units - taken


def _distinct(cards: Iterable[_Card]) -> list[_Card]:
    """Return the accelerators without those that equal another empty one, so that those of other nodes are compared, too."""
    found, seen = [], set[int]()
    for card in cards:
        if card.held or card.total not in seen:
            found.append(card)
        if not card.held:
            seen.add(card.total)
    return found
