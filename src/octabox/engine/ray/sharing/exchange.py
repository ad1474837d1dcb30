"""Give places of idle replicas to other servers of the cluster, and call for theirs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from octabox.engine.local.resident.room import ResidentModel
from octabox.engine.ray.placement_groups import Reservation
from octabox.engine.ray.resources import Resources
from octabox.engine.ray.sharing.calling import Nodes, PlaceCaller, SharedBoard
from octabox.engine.ray.sharing.idle_places import IdlePlaces
from octabox.engine.ray.sharing.offers import Offer, PlaceCall, has_priority

logger = logging.getLogger("octabox.engine")

#: Seconds between two looks at the calls of others, and between two reports of offers that have not changed.
INTERVAL, REPEAT = 1.0, 5.0

#: Seconds for which what has left takes no requests, at most: else it would take the place again.
HOLD = 20.0


class IdleReplicas(Protocol):
    """The replicas of this server."""

    def end_wait(self, name: str) -> None:
        """Let those take requests again that have given up their places to a replica."""

    async def evict(self, names: Collection[str], other: str) -> None:
        """Unload replicas for another one, until whose `end_wait` they take no requests."""


@dataclass
class _Answer:
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
        self._board, self._replicas, self._server = board, replicas, uuid.uuid4().hex
        self._places = IdlePlaces(self._server, residents)
        self._caller = PlaceCaller(self._server, board, self._places, nodes)
        self._answered: dict[str, _Answer] = {}
        self._published: tuple[list[Offer], float] = ([], 0.0)
        self._task: asyncio.Task[None] | None = None

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
        """Call for places of other servers while the context waits for one, unless the server is alone.

        Args:
            name: Name of the replica.
            resources: Returns what it reserves.
            model: Name of its model.
        """
        async with self._caller.calling(name, resources, model) if self._task else contextlib.nullcontext():
            yield

    async def note_place(self, name: str, reservation: Reservation) -> None:
        """Note the place of a replica, to be offered once that is idle."""
        if self._task:
            await self._places.note(name, reservation)

    async def answer(self) -> None:
        """Publish what is offered, unload what others have called for, and let that return which has answer its place."""
        calls = await self._board.calls(self._server)
        now, open_ids = time.monotonic(), {call.id for call in calls}
        for id_, answer in list(self._answered.items()):
            if id_ not in open_ids or now >= answer.until:
                del self._answered[id_]
                self._replicas.end_wait(_guest(answer.call))
                await self._board.end_call(answer.call)
        for call in calls:
            if call.id not in self._answered:
                await self._give(call)
        await self._publish()

    async def _give(self, call: PlaceCall) -> None:
        """Unload what another server has called for, if all of it is idle still; else that server chooses again."""
        offered = {each.name for each in self._places.offers()}
        if not offered.issuperset(call.names) or not has_priority(call, self._caller.waiting()):
            await self._board.end_call(call)
            return
        logger.info("%s makes room for %s of another server of the cluster", ", ".join(call.names), call.model)
        self._answered[call.id] = _Answer(call, time.monotonic() + HOLD)
        # There must be no await since the decision, so that no request comes between.
        await self._replicas.evict(call.names, _guest(call))

    async def _publish(self) -> None:
        """Publish the offers, if they have changed or would be forgotten."""
        offers, (before, at) = self._places.offers(), self._published
        if offers != before or time.monotonic() - at >= REPEAT:
            await self._board.publish(self._server, offers)
            self._published = offers, time.monotonic()

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
