"""Give places of idle replicas to other servers of the cluster, and call for theirs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from octabox.engine.local.resident.room import ResidentModel
from octabox.engine.ray.placement_groups import Reservation
from octabox.engine.ray.resources import Resources
from octabox.engine.ray.sharing.offers import Offer, PlaceCall, choose_offers, has_priority

logger = logging.getLogger("octabox.engine")

#: Seconds between two looks at the calls of others, and between two reports of offers that have not changed.
INTERVAL, REPEAT = 1.0, 5.0

#: Seconds that a replica waits for a place of its own server before others are called, and for what these answer.
PATIENCE, ANSWER_TIMEOUT = 2.0, 8.0

#: Seconds for which what has given its place takes no requests, at most: else it would take the place again.
HOLD = 20.0


class SharedBoard(Protocol):
    """What the servers publish for each other."""

    async def publish(self, server: str, offers: list[Offer]) -> None:
        """Replace the offers of a server."""

    async def withdraw(self, server: str) -> None:
        """Remove the offers of a server."""

    async def offers(self, server: str) -> list[Offer]:
        """Return the offers of all servers but one."""

    async def call(self, call: PlaceCall) -> None:
        """Call for places of another server."""

    async def end_call(self, call: PlaceCall) -> None:
        """Remove a call."""

    async def calls(self, server: str) -> list[PlaceCall]:
        """Return the calls for places of a server."""


class IdleReplicas(Protocol):
    """The replicas of this server."""

    def end_wait(self, name: str) -> None:
        """Let those take requests again that have given their places to a replica."""

    async def evict(self, names: Collection[str], other: str) -> None:
        """Unload replicas for another one, until whose `end_wait` they take no requests."""


class Nodes(Protocol):
    """The nodes of the cluster."""

    async def free(self) -> Mapping[str, Resources]:
        """Return the free resources of each node that is alive, by its id."""

    async def cards(self) -> Mapping[str, int]:
        """Return how many accelerators each of them has."""


@dataclass
class _Given:
    """A call that was answered: until when what has left takes no requests."""

    call: PlaceCall
    until: float


class PlaceExchange:
    """Offers the idle replicas of a server to the others of its cluster, and calls for theirs while its own have no place.

    Args:
        board: What the servers publish for each other.
        replicas: The replicas of this server.
        residents: Returns those in memory.
        nodes: The nodes of the cluster.
    """

    def __init__(
        self,
        board: SharedBoard,
        replicas: IdleReplicas,
        residents: Callable[[], Iterable[ResidentModel]],
        nodes: Nodes,
    ) -> None:
        self._board, self._replicas, self._residents, self._nodes = board, replicas, residents, nodes
        self._server = uuid.uuid4().hex
        self._held: dict[str, Offer] = {}
        self._waiting: dict[str, tuple[Resources, float]] = {}
        self._given: dict[str, _Given] = {}
        self._published: tuple[list[Offer], float] = ([], 0.0)
        self._task: asyncio.Task[None] | None = None
        self._ends: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to offer idle replicas."""
        if self._task is None:
            self._task = asyncio.create_task(self._serve(), name="places of servers")

    async def close(self) -> None:
        """Offer nothing any more."""
        if self._task is None:
            return
        self._task.cancel()
        self._task = None
        with contextlib.suppress(Exception):  # The cluster may be gone; what is left there counts for some seconds.
            await asyncio.wait_for(self._board.withdraw(self._server), INTERVAL)

    @asynccontextmanager
    async def waiting(
        self, name: str, resources: Callable[[], Awaitable[Resources]], model: str
    ) -> AsyncIterator[None]:
        """Call for places of other servers while the context waits for one.

        Args:
            name: Name of the replica.
            resources: Returns what it reserves.
            model: Name of its model.
        """
        if self._task is None:
            yield
            return
        calling = asyncio.create_task(self._call_others(name, resources, model), name=f"place of {name}")
        try:
            yield
        finally:
            calling.cancel()
            self._waiting.pop(name, None)

    async def note_place(self, name: str, reservation: Reservation) -> None:
        """Note the place of a replica, to be offered once that is idle."""
        if self._task is None:
            return
        node, note_card = await reservation.node(), reservation.note_card
        self._held[name] = Offer(self._server, name, node, reservation.resources)

        def note(card: str | None) -> None:
            note_card(card)
            self._held[name] = replace(self._held[name], card=card)

        reservation.note_card = note

    def offers(self) -> list[Offer]:
        """Return the places of the replicas that are idle, neither pinned nor about to leave."""
        idle = {each.name: each for each in self._residents() if each.idle and not (each.pinned or each.yields_to)}
        return [
            replace(place, value=idle[name].keep_value, last_used=idle[name].last_used)
            for name, place in self._held.items()
            if name in idle
        ]

    async def answer(self) -> None:
        """Publish what is offered, unload what others have called for, and let that return which has given its place."""
        calls = await self._board.calls(self._server)
        now, open_ids = time.monotonic(), {call.id for call in calls}
        for id_, given in list(self._given.items()):
            if id_ not in open_ids or now >= given.until:
                del self._given[id_]
                self._replicas.end_wait(_guest(given.call))
                await self._board.end_call(given.call)
        for call in calls:
            if call.id not in self._given:
                await self._give(call)
        await self._publish()

    async def _give(self, call: PlaceCall) -> None:
        """Unload what another server has called for, if all of it is idle still; else that server chooses again."""
        offered = {each.name for each in self.offers()}
        if not offered.issuperset(call.names) or not has_priority(call, self._waiting.values()):
            await self._board.end_call(call)
            return
        logger.info("%s makes room for %s of another server of the cluster", ", ".join(call.names), call.model)
        self._given[call.id] = _Given(call, time.monotonic() + HOLD)
        # There must be no await since the decision, so that no request comes between.
        await self._replicas.evict(call.names, _guest(call))
        for name in call.names:
            self._held.pop(name, None)

    async def _publish(self) -> None:
        """Publish the offers, if they have changed or would be forgotten."""
        offers, (before, at) = self.offers(), self._published
        if offers != before or time.monotonic() - at >= REPEAT:
            await self._board.publish(self._server, offers)
            self._published = offers, time.monotonic()

    async def _call_others(self, name: str, resources: Callable[[], Awaitable[Resources]], model: str) -> None:
        """Call for places of other servers from time to time, until the replica has one, or this is cancelled."""
        since = time.time()
        await asyncio.sleep(PATIENCE)
        while True:
            try:
                needed = await resources()
                self._waiting[name] = needed, since
                await self._call_once(needed, model, since)
            except Exception as error:  # noqa: BLE001 (whatever Ray raises: the replica waits on without the others)
                logger.debug("Other servers cannot be called for a place of %s: %s", name, error)
            await asyncio.sleep(INTERVAL)

    async def _call_once(self, needed: Resources, model: str, since: float) -> None:
        """Call for the places that cost least, and wait for an answer for some seconds."""
        others = await self._board.offers(self._server)
        chosen = choose_offers(needed, await self._nodes.free(), await self._nodes.cards(), [*others, *self.offers()])
        servers = dict.fromkeys(each.server for each in chosen if each.server != self._server)
        calls = [
            PlaceCall(
                uuid.uuid4().hex,
                server,
                tuple(each.name for each in chosen if each.server == server),
                model,
                needed,
                since,
            )
            for server in servers
        ]
        try:
            for call in calls:
                await self._board.call(call)
            if calls:
                await asyncio.sleep(ANSWER_TIMEOUT)
        finally:
            self._end_calls(calls)

    def _end_calls(self, calls: Iterable[PlaceCall]) -> None:
        """Remove calls, also where the task that has made them is cancelled."""

        async def end() -> None:
            with contextlib.suppress(Exception):  # The other server ends them after some seconds.
                for call in calls:
                    await self._board.end_call(call)

        if calls:
            task = asyncio.create_task(end(), name="end of calls for places")
            self._ends.add(task)
            task.add_done_callback(self._ends.discard)

    async def _serve(self) -> None:
        """Answer others until this is cancelled; what fails is tried again."""
        while True:
            try:
                await self.answer()
            except Exception as error:  # noqa: BLE001 (whatever Ray raises while its head does not answer)
                logger.debug("The other servers of the cluster cannot be reached: %s", error)
            await asyncio.sleep(INTERVAL)


def _guest(call: PlaceCall) -> str:
    """Return the name that replicas give their places to; no replica of this server has it."""
    return f"{call.model} of another server ({call.id})"
