"""The queue of a cluster, whose places and workers are in memory: which replicas it loads, and which it replaces."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fake_worker import Client, FakeWorker, FakeWorkers, call, settle
from fake_worker import model as configuration
from octabox.config.model import ModelConfig
from octabox.config.sections.parallel import ParallelConfig
from octabox.engine.messages import Loaded, LoadFailed
from octabox.engine.ray import placement_groups
from octabox.engine.ray.engine import RayEngine
from octabox.engine.ray.node_placement import HeldPlace
from octabox.engine.ray.placement_groups import NODE_LABEL
from octabox.engine.ray.places import reserving, snapshot
from octabox.engine.ray.reservations import Reservations
from octabox.engine.ray.resources import ReplicaNeed
from octabox.errors import CapacityError, OutOfMemoryError, ServerStoppingError, WorkerDiedError
from queue_houses import until


class Replicas:
    """Replicas in memory, each on a node with one CPU."""

    def __init__(self, **values: float) -> None:
        self.values, self.evicted = values, list[str]()
        #: Those that are in use, and those of them that have given their places.
        self.in_use, self.done = list[str](), list[str]()

    def find(self, name: str) -> Any:
        """Return one of them."""
        if name not in self.values:
            return None
        idle, value = name not in self.in_use, self.values[name]
        return SimpleNamespace(
            name=name, keep_value=value, idle=idle, pinned=False, last_used=0.0, memory={}, yields_to=""
        )

    def take_changed(self) -> list[str]:
        """Return all, of which any may have changed."""
        return list(self.values)

    def yielded(self, name: str) -> list[str]:
        """Return those whose calls are done."""
        del name
        return self.done

    def yielding(self, name: str) -> list[str]:
        """Return those in use whose turn is over."""
        del name
        return [each for each in self.in_use if each not in self.done]

    def let_yield(self, name: str, yielding: Iterable[str]) -> None:
        """End the calls of those that give their places."""
        del name
        self.done += yielding

    def end_wait(self, name: str) -> None:
        """Do nothing, since none waits for it."""

    async def evict(self, names: Collection[str], other: str) -> None:
        """Note what is unloaded."""
        del other
        self.evicted += names


class Places(Reservations):
    """The places of a cluster that is not there.

    Args:
        count: How many replicas have room.
    """

    def __init__(self, count: int = 8) -> None:
        super().__init__("cpu", 1.0, grows=False, replicas=Replicas())
        self.left = count

    async def has_room(self, model: ModelConfig, size: int, excluded: Collection[str], value: float) -> bool:
        """Return whether there is room for one more replica."""
        del model, size, excluded, value
        return self.left > 0


def engine_of(workers: FakeWorkers, places: Places | None = None, **options: Any) -> RayEngine:
    """Return an engine whose workers are not on a cluster."""
    found = places or Places()

    async def start(_reserve: Any, *arguments: Any) -> FakeWorker:
        found.left -= 1
        return await workers.start(*arguments)

    return RayEngine(start_worker=start, reservations=found, queue_size=64, **options)


def client_of(engine: RayEngine, **fields: Any) -> Client:
    """Return the caller of a new call, whose error need not be awaited, as where the engine is closed."""
    client = Client(engine, call(**fields))
    client.task.add_done_callback(lambda task: task.cancelled() or task.exception())
    return client


async def busy_engine(
    workers: FakeWorkers, count: int, places: Places | None = None, replicas: Any = "auto", **options: Any
) -> tuple[RayEngine, list[Client], FakeWorker]:
    """Return an engine with so many callers, of which the first one's call runs."""
    engine = engine_of(workers, places, **options)
    clients = [client_of(engine, replicas=replicas)]
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    clients += [client_of(engine, replicas=replicas) for _ in range(count - 1)]
    await settle()
    return engine, clients, worker


async def test_a_long_queue_gets_more_replicas() -> None:
    """Where calls wait longer than a load takes, another replica is loaded, and runs the next one; a cancel reaches it."""
    workers = FakeWorkers(runs=False)
    engine, clients, first = await busy_engine(workers, 8)
    second = await workers.next_started()
    taken = await second.next_call()
    second.start_run(taken)
    await settle()

    assert clients[1].call == taken
    assert "busy" == engine.status()[0].state
    await clients[1].leave()
    assert taken.id == await second.next_cancel()
    assert clients[0].call.id in first.calls
    await engine.close()


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"max_replicas": 2}, 2),
        ({"max_replicas": 2, "replicas": 3}, 2),
        ({"replicas": 3}, 3),
        ({"places": Places(1)}, 1),
    ],
)
async def test_replicas_have_limits(options: dict[str, Any], count: int) -> None:
    """No more are loaded than the setting and the configuration allow, or than have room."""
    workers = FakeWorkers(runs=False)
    engine, _, _ = await busy_engine(workers, 40, **options)
    for _ in range(count - 1):
        await workers.next_started()
    await settle()

    assert count == len(workers.started)
    await engine.close()


async def test_a_replica_that_is_lost_loses_no_call() -> None:
    """A call that it had not begun, and one that it had, run on another replica; the second one has a warning."""
    workers = FakeWorkers(runs=False)
    engine, clients, first = await busy_engine(workers, 2, Places(1))
    first.exit(WorkerDiedError("The node was lost.", lost=True))
    other = await workers.next_started()
    for _ in clients:
        taken = await other.next_call()
        other.start_run(taken)
        other.finish(taken)
    results = [await client.result() for client in clients]

    assert any("was run again" in warning for warning in results[0].warnings)
    assert () == results[1].warnings
    await engine.close()


async def test_a_closed_engine_refuses_and_ends_requests() -> None:
    """Those that run and wait end with an error, and new ones are refused."""
    workers = FakeWorkers(runs=False)
    engine, clients, _ = await busy_engine(workers, 3)
    await engine.close()

    for client in clients:
        with pytest.raises(ServerStoppingError):
            await client.result()
    with pytest.raises(ServerStoppingError):
        engine.check_room("demo", "")


async def test_a_call_sets_how_long_its_model_stays() -> None:
    """The `keep_alive` of a request counts on a cluster as on one machine."""
    engine = engine_of(FakeWorkers())
    kept = call()
    object.__setattr__(kept, "keep_alive", 100.0)
    await Client(engine, kept).result()
    await settle()
    left = engine.status()[0].time_left

    assert left is not None
    assert 0 < left <= 100
    await engine.close()


class Group:
    """A placement group of a cluster that is not there.

    Args:
        bundles: What it reserves.
        strategy: How its parts are spread.
        bundle_label_selector: The node that it must be on.
    """

    def __init__(
        self, bundles: list[dict[str, float]], strategy: str, bundle_label_selector: list[dict[str, str]] | None = None
    ) -> None:
        assert "SPREAD" == strategy
        (self.resources,) = bundles
        self.node = (bundle_label_selector or [{NODE_LABEL: "any"}])[0][NODE_LABEL]

    async def ready(self) -> None:
        """Wait for its place, which a node that is lost does not give."""
        await until(self.has_place)

    def has_place(self) -> bool:
        """Return whether the node is still there."""
        return self.node != "lost"


def places_on(
    monkeypatch: pytest.MonkeyPatch, replicas: Replicas, free: dict[str, dict[str, float]], **held: str
) -> Reservations:
    """Return the places of a cluster with these free resources, on whose nodes the replicas are."""

    def nodes() -> list[dict[str, Any]]:
        total = {name: float(max(1, [*held.values()].count(name))) for name in free}
        return [{"Alive": True, "NodeID": name, "Resources": {"CPU": cpus}} for name, cpus in total.items()]

    monkeypatch.setattr(placement_groups, "placement_group", Group)
    monkeypatch.setattr(snapshot, "all_nodes", nodes)
    monkeypatch.setattr(snapshot, "available_by_node", lambda: {name: dict(left) for name, left in free.items()})
    monkeypatch.setattr(snapshot, "draining_nodes", set)
    monkeypatch.setattr(reserving, "FREE_TIMEOUT", 0.1)
    monkeypatch.setattr(placement_groups, "node_of_group", lambda group: group.node)
    monkeypatch.setattr(placement_groups, "remove_placement_group", lambda _: None)
    found = Reservations("cpu", 1.0, grows=False, replicas=replicas)
    for name, node in held.items():
        found._places.add(name, HeldPlace(name, node, {"CPU": 1.0}))
    return found


async def test_processes_of_the_cpu_reserve_no_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    """The devices that a model is split over are those that its configuration names."""
    node = {"Alive": True, "NodeID": "a", "Resources": {"CPU": 8.0, "GPU": 4.0}}
    monkeypatch.setattr(snapshot, "all_nodes", lambda: [node])
    monkeypatch.setattr(snapshot, "available_by_node", dict)
    monkeypatch.setattr(snapshot, "draining_nodes", set)
    names: list[tuple[str, ...]] = [("cpu", "cpu"), ("cuda:0", "cuda:1")]
    models = [configuration("new").model_copy(update={"parallel": ParallelConfig(devices=each)}) for each in names]
    places = Reservations("cuda", 1.0, grows=False, replicas=Replicas())
    await places._places.refresh()
    found = [(await places.need(each)).resources() for each in models]

    assert [None, 2.0] == [each.get("GPU") for each in found]


async def test_a_place_is_called_for_by_the_smallest_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another server has to give no less than what any node that may hold the model reserves of one."""
    sizes = {"a": 48.0, "b": 24.0, "c": 8.0}
    nodes = [
        {"Alive": True, "NodeID": name, "Resources": {"GPU": 1.0, "accelerator_bytes": size * 2**30}}
        for name, size in sizes.items()
    ]
    monkeypatch.setattr(snapshot, "all_nodes", lambda: nodes)
    monkeypatch.setattr(snapshot, "available_by_node", dict)
    monkeypatch.setattr(snapshot, "draining_nodes", set)
    places = Reservations("cuda", 1.0, grows=False, replicas=Replicas())
    await places._places.refresh()

    async def need(_model: ModelConfig) -> ReplicaNeed:
        return ReplicaNeed(accelerators=1, needed=12 * 2**30)

    monkeypatch.setattr(places, "need", need)

    assert {"GPU": 0.5} == await places.resources(configuration("new"))


async def test_a_replica_is_placed_where_it_costs_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """What leaves memory is on the node that was chosen, and nothing else does; the place is known until it is given up."""
    replicas = Replicas(dear=9.0, cheap=1.0)
    places = places_on(monkeypatch, replicas, {"a": {}, "b": {}}, dear="a", cheap="b")
    reserved = await places.reserve("new", configuration("new"))

    assert ["cheap"] == replicas.evicted
    assert HeldPlace("new", "b", {"CPU": 1.0}) == places._places["new"]
    await reserved.release()
    assert "new" not in places._places


async def test_another_replica_has_a_place_where_that_costs_no_more_than_it_is_worth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is free costs nothing; nothing is unloaded to find that out."""
    replicas = Replicas(one=3.0)
    places, model = places_on(monkeypatch, replicas, {"a": {}}, one="a"), configuration("new")
    found = [await places.has_room(model, 0, (), value) for value in (2.9, 3.0)]
    monkeypatch.setattr(snapshot, "available_by_node", lambda: {"a": {"CPU": 1.0}})
    monkeypatch.setattr(snapshot, "all_nodes", lambda: [{"Alive": True, "NodeID": "a", "Resources": {"CPU": 2.0}}])

    assert [False, True] == found
    assert await places.has_room(model, 0, (), 0.0)
    assert [] == replicas.evicted


async def test_a_replica_in_use_gives_its_place_at_the_end_of_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the one of those whose place costs least, and leaves once its calls are done."""
    replicas = Replicas(dear=9.0, cheap=1.0)
    replicas.in_use = ["dear", "cheap"]
    monkeypatch.setattr(Group, "has_place", lambda self: self.node != "any" or bool(replicas.evicted))
    monkeypatch.setattr(reserving, "POLL", 0.0)
    places = places_on(monkeypatch, replicas, {"a": {"CPU": 0.0}, "b": {"CPU": 0.0}}, dear="a", cheap="b")
    await places.reserve("new", configuration("new"))

    assert ["cheap"] == replicas.evicted
    assert ["cheap"] == replicas.done


async def test_a_place_that_only_seems_to_be_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cluster does not give it, the replica that costs least leaves memory, instead of a wait for nothing."""
    replicas = Replicas(dear=9.0, cheap=1.0)
    places = places_on(monkeypatch, replicas, {"a": {"CPU": 1.0}}, dear="a", cheap="a")
    monkeypatch.setattr(Group, "has_place", lambda _: bool(replicas.evicted))
    await places.reserve("new", configuration("new"))

    assert ["cheap"] == replicas.evicted


async def test_a_client_that_leaves_ends_the_wait_for_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits in the cluster would let an autoscaler add a node, or idle replicas be unloaded, for nobody."""
    removed, waits, workers = list[Any](), list[int](), FakeWorkers()
    places = places_on(monkeypatch, Replicas(), {"any": {}})
    places._grows, places._search._timeout, places._search._grows = True, 600.0, True
    monkeypatch.setattr(Group, "has_place", lambda _: waits.append(1))
    monkeypatch.setattr(placement_groups, "remove_placement_group", removed.append)
    monkeypatch.setattr(reserving, "POLL", 0.0)

    async def start(reserve: Any, order: Any, *arguments: Any) -> FakeWorker:
        await reserve(order.model)
        return await workers.start(order, *arguments)

    engine = RayEngine(start_worker=start, reservations=places)
    client = client_of(engine)
    await until(lambda: len(waits) > 2)
    assert [] == removed
    await client.leave()
    await until(lambda: removed)
    monkeypatch.setattr(Group, "has_place", lambda _: True)
    other = client_of(engine)
    worker = await workers.next_started()

    assert worker in workers.started
    await other.result()
    await engine.close()


@pytest.mark.parametrize("free", [{"any": {"CPU": 1.0}}, {}])
async def test_a_client_that_leaves_when_its_place_is_found(
    monkeypatch: pytest.MonkeyPatch, free: dict[str, dict[str, float]]
) -> None:
    """The place is given up at each step after its request, whether it was free or was waited for; else it is lost for good."""
    removed, begun, goes_on = list[Any](), threading.Event(), threading.Event()
    places = places_on(monkeypatch, Replicas(), free)
    places._grows = places._search._grows = True

    def find(group: Group) -> str:
        begun.set()
        goes_on.wait(30)
        return group.node

    monkeypatch.setattr(placement_groups, "node_of_group", find)
    monkeypatch.setattr(placement_groups, "remove_placement_group", removed.append)
    task = asyncio.create_task(places.reserve("new", configuration("new")))
    await until(begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    goes_on.set()

    assert 1 == len(removed)
    assert not places.holds("new")


async def test_memory_that_runs_out_unloads_nothing_elsewhere() -> None:
    """A replica has reserved its memory; an idle one of another model may be on another node."""
    failed = list[str]()
    workers = FakeWorkers(answers=(Loaded("cpu", 0.1), LoadFailed(OutOfMemoryError("Memory ran out."))))
    engine = engine_of(workers, on_out_of_memory=failed.append)
    await client_of(engine, name="idle").result()
    with pytest.raises(OutOfMemoryError):
        await client_of(engine, name="large").result()

    assert ["large"] == failed
    assert "idle" in [each.model for each in engine.status()]
    await engine.close()


async def test_old_messages_are_deleted_while_the_engine_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server may run for months, and others that share the store may be killed meanwhile."""
    monkeypatch.setattr(RayEngine, "connect", lambda _: None)
    engine = engine_of(FakeWorkers(), file_store=str(tmp_path))
    await engine.start()
    task = engine._sweeping
    assert task is not None
    await settle()
    assert not task.done()
    await engine.close()
    await asyncio.gather(task, return_exceptions=True)

    assert task.cancelled()
    assert engine._sweeping is None


async def test_a_node_that_is_lost_meanwhile_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place is reserved anew, on a node that has joined."""
    free = {"lost": {"CPU": 1.0}}
    places = places_on(monkeypatch, Replicas(), free)

    def has_place(group: Group) -> bool:
        if group.node != "lost":
            return True
        if "lost" in free:
            free["new"] = free.pop("lost")
        return False

    monkeypatch.setattr(Group, "has_place", has_place)
    await places.reserve("new", configuration("new"))

    assert "new" == places._places["new"].node


async def test_nothing_waits_in_a_cluster_that_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take each place that becomes free, also one that is made for a replica that was requested before."""
    requested = list[str]()
    places = places_on(monkeypatch, Replicas(), {"any": {}})

    def create(*arguments: Any, **options: Any) -> Group:
        requested.append("group")
        return Group(*arguments, **options)

    monkeypatch.setattr(placement_groups, "placement_group", create)
    monkeypatch.setattr(reserving, "POLL", 0.0)
    places._search._timeout = 0.1
    with pytest.raises(CapacityError, match=r"No node of the cluster has 1 CPU .* in 0\.1 seconds"):
        await places.reserve("new", configuration("new"))

    assert [] == requested
