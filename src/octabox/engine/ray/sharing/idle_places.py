"""The places of a server's replicas, which others may have while these are idle."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from octabox.engine.local.resident.room import ResidentModel
from octabox.engine.ray.placement_groups import Reservation
from octabox.engine.ray.sharing.offers import Offer


class IdlePlaces:
    """The places that the replicas of a server hold.

    Args:
        server: Id of the server.
        residents: Returns the replicas in memory.
    """

    def __init__(self, server: str, residents: Callable[[], Iterable[ResidentModel]]) -> None:
        self._server, self._residents = server, residents
        self._held: dict[str, Offer] = {}

    async def note(self, name: str, reservation: Reservation) -> None:
        """Note the place of a replica, to be offered once that is idle."""
        node, note_card = await reservation.node(), reservation.note_card
        self._held[name] = Offer(self._server, name, node, reservation.resources)

        def note_both(card: str | None) -> None:
            note_card(card)
            self._held[name] = replace(self._held[name], card=card)

        reservation.note_card = note_both

    def offers(self) -> list[Offer]:
        """Return the places of the replicas that are idle, neither pinned nor about to leave."""
        idle = {each.name: each for each in self._residents() if each.idle and not (each.pinned or each.yields_to)}
        return [
            replace(place, value=idle[name].keep_value, last_used=idle[name].last_used)
            for name, place in self._held.items()
            if name in idle
        ]
