"""Servers that give each other the places of idle replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pytest

from clusters import running_cluster
from embedded import Calls, finish
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.ray.engine import RayEngine
from octabox.engine.ray.sharing import calling, exchange
from octabox.engine.ray.sharing.exchange import PlaceExchange
from octabox.engine.ray.sharing.offers import Offer, PlaceCall
from octabox.types import Generation
from queue_houses import until

NODE = "n"


def set_times(monkeypatch: pytest.MonkeyPatch, interval: float, patience: float, answer: float) -> None:
    """Set for how long servers wait."""
    monkeypatch.setattr(exchange, "INTERVAL", interval)
    monkeypatch.setattr(calling, "CALL_INTERVAL", interval)
    monkeypatch.setattr(calling, "PATIENCE", patience)
    monkeypatch.setattr(calling, "ANSWER_TIMEOUT", answer)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for long."""
    set_times(monkeypatch, 0.01, 0.01, 0.5)


@dataclass
class Replica:
    """A replica in memory."""

    name: str
    keep_value: float = 1.0
    idle: bool = True
    pinned: bool = False
    yields_to: str = ""
    last_used: float = 0.0


class Memory:
    """A board in memory, which may be out of reach."""

    def __init__(self) -> None:
        self.offered: dict[str, list[Offer]] = {}
        self.open: dict[str, PlaceCall] = {}
        self.lost = False

    def _check(self) -> None:
        if self.lost:
            raise RuntimeError("The head has ended.")

    async def publish(self, server: str, offers: list[Offer]) -> None:
        """Replace the offers of a server."""
        self._check()
        self.offered[server] = offers

    async def withdraw(self, server: str) -> None:
        """Remove the offers of a server."""
        self._check()
        self.offered.pop(server, None)

    async def offers(self, server: str) -> list[Offer]:
        """Return those of the others."""
        self._check()
        return [each for other, offers in self.offered.items() if other != server for each in offers]

    async def call(self, call: PlaceCall) -> None:
        """Add a call."""
        self._check()
        self.open[call.id] = call

    async def end_call(self, call: PlaceCall) -> None:
        """Remove a call."""
        self._check()
        self.open.pop(call.id, None)

    async def calls(self, server: str) -> list[PlaceCall]:
        """Return the calls for places of a server."""
        self._check()
        return [each for each in self.open.values() if each.to == server]


@dataclass
class Cluster:
    """A cluster of one node with one accelerator; it is the nodes of its servers."""

    left: float = 0.0
    board: Memory = field(default_factory=Memory)

    async def free(self) -> dict[str, dict[str, float]]:
        """Return what is free."""
        return {NODE: {"GPU": self.left}}

    async def cards(self) -> dict[str, int]:
        """Return how many accelerators there are."""
        return {NODE: 1}


class Server:
    """A server of the cluster, whose replicas leave when they are to."""

    def __init__(self, cluster: Cluster, *replicas: Replica) -> None:
        self.cluster, self.replicas, self.evicted = cluster, {each.name: each for each in replicas}, list[str]()
        self.exchange = PlaceExchange(cluster.board, self, self.replicas.values, cluster)  # type: ignore[arg-type]
        self.resumed: list[str] = []

    async def start(self) -> Server:
        """Start its exchange, and note the places of its replicas."""
        self.exchange.start()
        for name in self.replicas:
            await self.exchange.note_place(name, Place())  # type: ignore[arg-type]
        return self

    async def evict(self, names: Collection[str], other: str) -> None:
        """Unload replicas."""
        for name in names:
            self.replicas.pop(name).yields_to = other
            self.evicted.append(name)
            self.cluster.left += 1.0

    def end_wait(self, name: str) -> None:
        """Note whose wait has ended."""
        self.resumed.append(name)

    async def wait(self, seconds: float = 10.0) -> bool:
        """Wait for a place as a replica does; return whether there was one in time."""

        async def resources() -> dict[str, float]:
            return {"GPU": 1.0}

        async with self.exchange.waiting("new", resources, "wanted"):
            try:
                await asyncio.wait_for(until(lambda: self.cluster.left >= 1), seconds)
            except asyncio.TimeoutError:
                return False
        self.cluster.left -= 1.0
        return True


class Place:
    """A reservation of the accelerator."""

    resources: dict[str, float] = {"GPU": 1.0}  # noqa: RUF012 (never changed)

    async def node(self) -> str:
        """Return the node."""
        return NODE

    def note_card(self, card: str | None) -> None:
        """Do nothing."""


async def test_an_idle_replica_of_another_server_makes_room() -> None:
    """It takes no requests until the other one has its place, and then does again."""
    cluster = Cluster()
    one, two = await Server(cluster, Replica("idle")).start(), await Server(cluster).start()

    assert await two.wait()
    assert ["idle"] == one.evicted
    await until(lambda: one.resumed)
    assert "wanted of another server" in one.resumed[0]
    assert {} == cluster.board.open
    for server in (one, two):
        await server.exchange.close()
    assert {} == cluster.board.offered


@pytest.mark.parametrize("fields", [{"idle": False}, {"pinned": True}, {"yields_to": "other"}])
async def test_only_idle_replicas_are_given(fields: dict[str, Any]) -> None:
    """What is in use, pinned or about to leave stays."""
    cluster = Cluster()
    one, two = await Server(cluster, Replica("busy", **fields)).start(), await Server(cluster).start()

    assert not await two.wait(0.3)
    assert [] == one.evicted
    for server in (one, two):
        await server.exchange.close()


async def test_a_replica_that_comes_into_use_meanwhile_stays() -> None:
    """The call is ended, and the other server chooses again once it is idle."""
    cluster, replica = Cluster(), Replica("busy")
    one, two = Server(cluster, replica), await Server(cluster).start()
    one.exchange._task = asyncio.create_task(asyncio.sleep(60))  # It answers when the test wants it.
    await one.exchange.note_place("busy", Place())  # type: ignore[arg-type]
    await one.exchange.answer()
    waiting = asyncio.create_task(two.wait())
    await until(lambda: cluster.board.open)
    replica.idle = False
    await one.exchange.answer()
    assert ([], {}) == (one.evicted, cluster.board.open)
    replica.idle = True
    await one.exchange.answer()
    await until(lambda: cluster.board.open)
    await one.exchange.answer()

    assert await waiting
    assert ["busy"] == one.evicted
    for server in (one, two):
        await server.exchange.close()


async def test_a_server_that_has_ended_is_waited_for_in_vain_but_not_for_long() -> None:
    """Its offers are still there; another server that offers more later is called next."""
    cluster = Cluster()
    two = await Server(cluster).start()
    cluster.board.offered["ended"] = [Offer("ended", "lost", NODE, {"GPU": 1.0})]
    waiting = asyncio.create_task(two.wait())
    await until(lambda: cluster.board.open)
    del cluster.board.offered["ended"]  # As they are after some seconds.
    one = await Server(cluster, Replica("idle")).start()

    assert await waiting
    assert ["idle"] == one.evicted
    for server in (one, two):
        await server.exchange.close()


async def test_a_head_that_does_not_answer_is_no_error() -> None:
    """The server goes on alone, and finds the others again."""
    cluster = Cluster()
    cluster.board.lost = True
    one, two = await Server(cluster, Replica("idle")).start(), await Server(cluster).start()
    assert not await two.wait(0.2)
    cluster.board.lost = False

    assert await two.wait()
    assert ["idle"] == one.evicted
    cluster.board.lost = True
    for server in (one, two):
        await server.exchange.close()


async def test_what_has_left_returns_where_nobody_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends after its call does not keep it out of memory for long."""
    monkeypatch.setattr(exchange, "HOLD", 0.1)
    cluster = Cluster()
    one = await Server(cluster, Replica("idle")).start()
    await until(lambda: cluster.board.offered)
    (server,) = cluster.board.offered
    await cluster.board.call(PlaceCall("1", server, ("idle",), "wanted", {"GPU": 1.0}, 0.0))
    await until(lambda: one.resumed)

    assert (["idle"], {}) == (one.evicted, cluster.board.open)
    await one.exchange.close()


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let servers wait as they do."""
    set_times(monkeypatch, 1.0, 2.0, 8.0)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("real")
async def test_two_servers_share_the_only_place_of_a_cluster(embedded: ModelConfig) -> None:
    """Each has its turn once the other one is idle, though neither has a `keep_alive`; one that has ended has no place."""
    options = WorkerOptions(threads=1, device="cpu")
    with running_cluster(nodes=1) as cluster:
        engines = [RayEngine(options, address=cluster.address, load_timeout=200) for _ in range(2)]
        calls = Calls(embedded)
        for engine in engines:
            await engine.start()
        for engine in (*engines, engines[0]):
            assert isinstance(await asyncio.wait_for(finish(engine, calls()), 180), Generation)
        resident = [bool(engine.status()) for engine in engines]
        # The first one has the connection of this process.
        assert isinstance(await asyncio.wait_for(finish(engines[1], calls()), 180), Generation)
        await engines[1].close()
        assert isinstance(await asyncio.wait_for(finish(engines[0], calls()), 180), Generation)
        await engines[0].close()

    assert [True, False] == resident
