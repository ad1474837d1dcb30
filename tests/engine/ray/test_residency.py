"""Replicas that make room for another one on a cluster in memory, which gives what is free to what has waited longest."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from fake_worker import Client, FakeWorker, FakeWorkers, call, settle
from octabox.config.sections.parallel import ParallelConfig
from octabox.engine.messages import Loaded
from octabox.engine.ray import placement_groups
from octabox.engine.ray.engine import RayEngine
from octabox.engine.ray.placement_groups import NODE_LABEL
from octabox.engine.ray.places import reserving, snapshot
from octabox.errors import CapacityError, WorkerDiedError
from queue_houses import until


class Group:
    """A placement group of one bundle.

    Args:
        cluster: The cluster.
        cpus: What it reserves.
        label: The node that it must be on; None is any.
    """

    def __init__(self, cluster: SmallCluster, cpus: float, label: str | None) -> None:
        self.cluster, self.cpus, self.label = cluster, cpus, label
        self.node, self.placed = "", threading.Event()

    async def ready(self) -> None:
        """Wait for its place."""
        await until(self.placed.is_set)


class SmallCluster:
    """A cluster in memory, whose nodes have CPUs.

    Args:
        nodes: The CPUs of each node by its id.
    """

    def __init__(self, nodes: Mapping[str, float]) -> None:
        self.nodes, self.groups = dict(nodes), list[Group]()
        #: Names of the models that were loaded, in their order.
        self.loaded = list[str]()
        #: What the end of a worker waits for, by the name of its model.
        self.held_back: dict[str, asyncio.Event] = {}
        #: The nodes that are being drained.
        self.draining = set[str]()
        self._lock = threading.RLock()

    def create(
        self, bundles: list[dict[str, float]], _strategy: str, bundle_label_selector: list[dict[str, str]] | None = None
    ) -> Group:
        """Create a placement group."""
        label = bundle_label_selector[0][NODE_LABEL] if bundle_label_selector else None
        group = Group(self, bundles[0]["CPU"], label)
        with self._lock:
            self.groups.append(group)
            self._place()
        return group

    def remove(self, group: Group) -> None:
        """Remove a placement group; what waits may have its place."""
        with self._lock:
            self.groups.remove(group)
            self._place()

    def lose(self, node: str) -> None:
        """Lose a node."""
        with self._lock:
            del self.nodes[node]

    def free(self) -> dict[str, dict[str, float]]:
        """Return the free resources of each node."""
        with self._lock:
            return {
                node: {"CPU": cpus - sum(each.cpus for each in self.groups if each.node == node)}
                for node, cpus in self.nodes.items()
            }

    def all_nodes(self) -> list[dict[str, Any]]:
        """Return the nodes, as Ray describes them."""
        return [{"Alive": True, "NodeID": name, "Resources": {"CPU": cpus}} for name, cpus in self.nodes.items()]

    async def start(self, workers: FakeWorkers, reserve: Any, order: Any, *arguments: Any) -> FakeWorker:
        """Start a worker in a place, which it keeps until its end."""
        name, reserved = order.model.name, await reserve(order.model)
        self.loaded.append(name)
        worker = await workers.start(order, *arguments)
        end = worker.stop

        async def stop() -> None:
            if held_back := self.held_back.get(name):
                await held_back.wait()
            await end()
            await reserved.release()

        worker.stop = stop  # type: ignore[method-assign]
        return worker

    def _place(self) -> None:
        """Place what has room, that which has waited longest first."""
        for group in self.groups:
            for node, left in self.free().items():
                if not group.node and group.label in (None, node) and left["CPU"] >= group.cpus:
                    group.node = node
                    group.placed.set()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> SmallCluster:
    """Return a cluster of one node with two CPUs, in the place of Ray."""
    found = SmallCluster({"x": 2.0})
    monkeypatch.setattr(placement_groups, "placement_group", found.create)
    monkeypatch.setattr(placement_groups, "remove_placement_group", found.remove)
    monkeypatch.setattr(placement_groups, "node_of_group", lambda group: group.node)
    monkeypatch.setattr(snapshot, "all_nodes", found.all_nodes)
    monkeypatch.setattr(snapshot, "available_by_node", found.free)
    monkeypatch.setattr(snapshot, "draining_nodes", lambda: found.draining)
    monkeypatch.setattr(reserving, "POLL", 0.01)
    monkeypatch.setattr(reserving, "FREE_TIMEOUT", 1.0)
    return found


def engine_of(cluster: SmallCluster, workers: FakeWorkers, **options: Any) -> RayEngine:
    """Return an engine whose workers are on the cluster."""

    async def start(*arguments: Any) -> FakeWorker:
        return await cluster.start(workers, *arguments)

    return RayEngine(start_worker=start, load_timeout=20.0, queue_size=64, **options)


def client_of(engine: RayEngine, name: str, processes: int = 1) -> Client:
    """Return the caller of a call of a model, which may be split over several processes."""
    fields: dict[str, Any] = {"parallel": ParallelConfig(devices=("cpu",) * processes)} if processes > 1 else {}
    client = Client(engine, call(name, **fields))
    client.task.add_done_callback(lambda task: task.cancelled() or task.exception())
    return client


async def running(workers: FakeWorkers, client: Client) -> tuple[FakeWorker, Any]:
    """Return the worker that runs the call of a client, and the call."""
    worker = await workers.next_started()
    begun = await worker.next_call()
    assert client.call == begun
    worker.start_run(begun)
    await settle()
    return worker, begun


def slow_loads(count: int, *seconds: float) -> list[Any]:
    """Return answers of workers whose loads have taken some time, so that their turns last."""
    return [Loaded("cpu", each) for each in seconds or (1000.0,) * count]


@pytest.mark.parametrize("grows", [False, True])
async def test_what_has_left_for_a_place_is_not_let_back_in_before(cluster: SmallCluster, grows: bool) -> None:
    """Two replicas leave one after another for one that needs the places of both; a request for the first comes between."""
    workers = FakeWorkers(runs=False, answers=slow_loads(4))
    engine = engine_of(cluster, workers, grows=grows)
    one = client_of(engine, "one")
    worker, begun = await running(workers, one)
    worker.finish(begun)
    await one.result()
    other = client_of(engine, "other")
    busy, last = await running(workers, other)
    split = client_of(engine, "split", 2)
    await until(lambda: "split" in engine._reservations._waiting)
    cluster.held_back["other"] = asyncio.Event()
    busy.finish(last)
    await other.result()
    await until(lambda: cluster.free()["x"]["CPU"] == 1.0)
    again = client_of(engine, "one")
    await asyncio.sleep(0.1)
    cluster.held_back["other"].set()
    worker, begun = await running(workers, split)
    worker.finish(begun)
    await split.result()
    worker, begun = await running(workers, again)

    assert ["one", "other", "split", "one"] == cluster.loaded
    await engine.close()


async def test_what_waits_for_less_does_not_take_a_part_of_the_place(cluster: SmallCluster) -> None:
    """A third model waits for one CPU while two are freed for the one that was requested before it."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(cluster, workers)
    found = [await running(workers, client_of(engine, name)) for name in ("one", "other")]
    split = client_of(engine, "split", 2)
    await until(lambda: all(engine._cluster.models.by_name[each].yields_to == "split" for each in ("one", "other")))
    third = client_of(engine, "third")
    await until(lambda: "third" in engine._reservations._waiting)
    cluster.held_back["other"] = asyncio.Event()
    for worker, begun in found:
        worker.finish(begun)
    await until(lambda: cluster.free()["x"]["CPU"] == 1.0)
    await asyncio.sleep(0.1)
    cluster.held_back["other"].set()
    worker, begun = await running(workers, split)
    worker.finish(begun)
    await split.result()
    await running(workers, third)

    assert ["one", "other", "split", "third"] == cluster.loaded
    await engine.close()


async def test_no_further_replica_takes_a_place_that_another_model_waits_for(cluster: SmallCluster) -> None:
    """A replica that only shortens the wait of requests is loaded after the first one of another model."""
    workers = FakeWorkers(runs=False, answers=slow_loads(4))
    engine = engine_of(cluster, workers, max_replicas=2)
    await running(workers, client_of(engine, "one"))
    client_of(engine, "split", 2)
    await until(lambda: "split" in engine._reservations._waiting)
    model = call("one").model

    assert not await engine._reservations.has_room(model, 0, (), 1e9)
    await engine.unload("split")
    await until(lambda: "split" not in engine._reservations._waiting)
    assert await engine._reservations.has_room(model, 0, (), 1e9)
    await engine.close()


async def test_a_replica_that_is_lost_while_it_makes_room_holds_up_nobody(cluster: SmallCluster) -> None:
    """Those of another node give their places instead of it."""
    workers = FakeWorkers(runs=False, answers=slow_loads(0, 0.05, 0.06, 0.3))
    engine = engine_of(cluster, workers)
    one = client_of(engine, "one")
    lost, begun = await running(workers, one)
    other = client_of(engine, "other")
    also_lost, _ = await running(workers, other)
    cluster.nodes["y"] = 2.0
    elsewhere = client_of(engine, "elsewhere", 2)
    remaining, last = await running(workers, elsewhere)
    split = client_of(engine, "split", 2)
    await until(lambda: engine._cluster.models.by_name["one"].yields_to == "split")
    lost.finish(begun)
    await one.result()
    await other.leave()
    cluster.lose("x")
    for worker in (lost, also_lost):
        worker.exit(WorkerDiedError("The node was lost.", lost=True))
    await until(lambda: engine._cluster.models.by_name["elsewhere"].yields_to == "split")
    remaining.finish(last)
    await elsewhere.result()
    await running(workers, split)

    assert "split" == cluster.loaded[-1]
    await engine.close()


async def test_a_place_that_is_not_given_lets_what_has_left_be_loaded(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is lost meanwhile gives none; both are loaded on another one."""
    workers = FakeWorkers(runs=False, answers=slow_loads(4))
    monkeypatch.setattr(reserving, "FREE_TIMEOUT", 0.1)
    cluster.nodes["x"] = 1.0
    engine = engine_of(cluster, workers)
    one = client_of(engine, "one")
    worker, begun = await running(workers, one)
    worker.finish(begun)
    await one.result()
    cluster.held_back["one"] = asyncio.Event()
    other = client_of(engine, "other")
    await until(lambda: engine._cluster.models.by_name["one"].yields_to == "other")
    cluster.nodes |= {"y": 2.0}
    cluster.lose("x")
    again = client_of(engine, "one")
    cluster.held_back["one"].set()
    for _ in (other, again):
        await workers.next_started()

    assert ["one", "one", "other"] == sorted(cluster.loaded)
    await engine.close()


async def test_a_place_that_pinned_models_hold_is_not_waited_for(cluster: SmallCluster) -> None:
    """The error names them; what the rest of a node suffices for is loaded."""
    workers = FakeWorkers()
    engine = engine_of(cluster, workers)
    await client_of(engine, "one").result()
    engine.retain("one", None, True)
    words = "There is no room for model 'split': the models that hold its place, one, are pinned"
    with pytest.raises(CapacityError, match=words):
        await client_of(engine, "split", 2).result()
    await client_of(engine, "small").result()
    engine.retain("one", None, False)
    await client_of(engine, "split", 2).result()

    assert ["one", "small", "split"] == cluster.loaded
    await engine.close()
