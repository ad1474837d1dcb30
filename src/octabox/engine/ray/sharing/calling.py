"""Call for places of other servers of the cluster while this one has none for a replica."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from octabox.engine.ray.resources import Resources
from octabox.engine.ray.sharing.idle_places import IdlePlaces
from octabox.engine.ray.sharing.offers import Offer, PlaceCall, choose_offers

logger = logging.getLogger("octabox.engine")

#: Seconds that a replica waits for a place of its own server before others are called, between two looks at what these
#: offer, and for them to answer.
PATIENCE, CALL_INTERVAL, ANSWER_TIMEOUT = 2.0, 1.0, 8.0


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


class Nodes(Protocol):
    """The nodes of the cluster."""

    async def free(self) -> Mapping[str, Resources]:
        """Return the free resources of each node that is alive, by its id."""

    async def cards(self) -> Mapping[str, int]:
        """Return how many accelerators each of them has."""


class PlaceCaller:
    """Calls for places of other servers while replicas of this one wait.

    Args:
        server: Id of this server.
        board: What the servers publish for each other.
        places: The idle places of this server.
        nodes: The nodes of the cluster.
    """

    def __init__(self, server: str, board: SharedBoard, places: IdlePlaces, nodes: Nodes) -> None:
        self._server, self._board, self._places, self._nodes = server, board, places, nodes
        self._waiting: dict[str, tuple[Resources, float]] = {}
        self._ends: set[asyncio.Task[None]] = set()

    def waiting(self) -> Iterable[tuple[Resources, float]]:
        """Return what each replica reserves that waits for a place, and since when, in seconds since the epoch."""
        return list(self._waiting.values())

    @asynccontextmanager
    async def calling(
        self, name: str, resources: Callable[[], Awaitable[Resources]], model: str
    ) -> AsyncIterator[None]:
        """Call for places of other servers while the context waits for one.

        Args:
            name: Name of the replica.
            resources: Returns what it reserves.
            model: Name of its model.
        """
        calling = asyncio.create_task(self._call_others(name, resources, model), name=f"place of {name}")
        try:
            yield
        finally:
            calling.cancel()
            self._waiting.pop(name, None)

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
            await asyncio.sleep(CALL_INTERVAL)

    async def _call_once(self, needed: Resources, model: str, since: float) -> None:
        """Call for the places that cost least, and wait for an answer for some seconds."""
        others = await self._board.offers(self._server)
        selected = choose_offers(
            needed, await self._nodes.free(), await self._nodes.cards(), [*others, *self._places.offers()]
        )
        servers = dict.fromkeys(each.server for each in selected if each.server != self._server)
        calls = [
            PlaceCall(
                uuid.uuid4().hex,
                server,
                tuple(each.name for each in selected if each.server == server),
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
