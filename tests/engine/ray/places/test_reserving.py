"""How replicas get places on the accelerators of a cluster in memory, several of them at the same time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any

import pytest

from engine.ray.test_reservations import Replicas
from fake_worker import FakeWorkers, call
from fake_worker import model as configuration
from octabox.engine.messages import Loaded, LoadFailed
from octabox.engine.ray import placement_groups
from octabox.engine.ray.engine import RayEngine
from octabox.engine.ray.node_placement import HeldPlace
from octabox.engine.ray.placement_groups import NODE_LABEL
from octabox.engine.ray.places import needs, reserving, snapshot
from octabox.engine.ray.reservations import Reservations
from octabox.engine.ray.resources import ACCELERATOR_BYTES
from octabox.errors import CapacityError, DeviceError, OutOfMemoryError
from queue_houses import until

GIB = 2**30


class Cards:
    """A cluster in memory, whose nodes have accelerators.

    Args:
        sizes: GiB of the accelerator of each node, by its id; 0 is not declared.
    """

    def __init__(self, **sizes: int) -> None:
        self.totals: dict[str, dict[str, float]] = {
            name: {"GPU": 1.0, **({ACCELERATOR_BYTES: float(size * GIB)} if size else {})}
            for name, size in sizes.items()
        }
        self.draining, self.groups = set[str](), list[Group]()
        #: Where each replica got its place, with its share.
        self.placed = list[tuple[str, float]]()

    def nodes(self) -> list[dict[str, Any]]:
        """Return the nodes, as Ray describes them."""
        return [{"Alive": True, "NodeID": name, "Resources": total} for name, total in self.totals.items()]

    def free(self) -> dict[str, dict[str, float]]:
        """Return the free resources of each node."""
        return {
            name: {**total, "GPU": 1.0 - sum(each.share for each in self.groups if each.node == name)}
            for name, total in self.totals.items()
        }

    def create(
        self, bundles: list[dict[str, float]], _strategy: str, bundle_label_selector: list[dict[str, str]] | None = None
    ) -> Group:
        """Create a placement group."""
        group = Group(self, bundles[0]["GPU"], (bundle_label_selector or [{}])[0].get(NODE_LABEL))
        self.groups.append(group)
        return group


class Group:
    """A placement group.

    Args:
        cluster: The cluster.
        share: What it reserves of an accelerator.
        label: The node that it must be on, or those that it must not be on; None is any.
    """

    def __init__(self, cluster: Cards, share: float, label: str | None) -> None:
        self.cluster, self.share, self.label, self.node = cluster, share, label, ""

    async def ready(self) -> None:
        """Wait for its place."""
        await until(self._place)

    def _place(self) -> bool:
        for name, left in self.cluster.free().items():
            excluded = (self.label or "").startswith("!in(") and name in str(self.label)
            suitable = self.label in (None, name) or ((self.label or "").startswith("!") and not excluded)
            if not self.node and suitable and name not in self.cluster.draining and left["GPU"] >= self.share:
                self.node = name
                self.cluster.placed.append((name, self.share))
        return bool(self.node)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Cards]:
    """Return what puts a cluster in the place of Ray, by the sizes of its accelerators."""

    def create(**sizes: int) -> Cards:
        found = Cards(**sizes)
        monkeypatch.setattr(placement_groups, "placement_group", found.create)
        monkeypatch.setattr(placement_groups, "remove_placement_group", found.groups.remove)
        monkeypatch.setattr(placement_groups, "node_of_group", lambda group: group.node)
        monkeypatch.setattr(snapshot, "all_nodes", found.nodes)
        monkeypatch.setattr(snapshot, "available_by_node", found.free)
        monkeypatch.setattr(snapshot, "draining_nodes", lambda: set(found.draining))
        monkeypatch.setattr(reserving, "POLL", 0.01)
        monkeypatch.setattr(reserving, "FREE_TIMEOUT", 0.2)
        return found

    return create


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what sets the GiB of the components of all models."""

    def change(*gib: float) -> None:
        sizes = {f"component {number}": round(each * GIB) for number, each in enumerate(gib)}
        monkeypatch.setattr(needs, "weight_bytes", lambda *_: sizes)

    change()
    return change


def reservations(replicas: Replicas | None = None, timeout: float = 5.0, **options: Any) -> Reservations:
    """Return places for replicas on accelerators."""
    return Reservations("cuda", timeout, grows=options.pop("grows", False), replicas=replicas or Replicas(), **options)


def on_accelerator(name: str = "new", **fields: Any) -> Any:
    """Return the configuration of a model that is on an accelerator."""
    return configuration(name, device="cuda", **fields)


class SlowReplicas(Replicas):
    """Replicas of which each takes a while to leave, until it may."""

    def __init__(self, **values: float) -> None:
        super().__init__(**values)
        self.may_leave, self.on_left = asyncio.Event(), list[Any]()

    async def evict(self, names: Collection[str], other: str) -> None:
        """Let replicas leave."""
        await super().evict(names, other)
        await self.may_leave.wait()
        for name in names:
            for on_left in self.on_left:
                on_left(name)


async def test_a_place_that_is_being_freed_holds_nobody_up(cluster: Callable[..., Cards]) -> None:
    """While a replica takes long to leave for one model, another gets what is free, and the next is told what has room."""
    found, replicas = cluster(a=0, b=0), SlowReplicas(idle=1.0)
    replicas.may_leave.clear()
    places = reservations(replicas)
    group = found.create([{"GPU": 1.0}], "")
    group._place()
    places._places.add("idle", HeldPlace("idle", group.node, {"GPU": 1.0}, "0"))
    other = found.create([{"GPU": 1.0}], "")
    other._place()
    waiting = asyncio.create_task(places.reserve("first", on_accelerator("first")))
    await until(lambda: replicas.evicted)
    found.groups.remove(other)
    second = await asyncio.wait_for(places.reserve("second", on_accelerator("second")), 5)
    room = await asyncio.wait_for(places.has_room(on_accelerator("third"), 0, (), 1e9), 5)

    assert not waiting.done()
    assert "second" in places._places
    assert not room
    found.groups.remove(group)
    places._places.remove("idle")
    replicas.may_leave.set()
    first = await asyncio.wait_for(waiting, 5)
    assert {"a", "b"} == {await first.node(), await second.node()}


async def test_one_place_is_not_for_two(cluster: Callable[..., Cards]) -> None:
    """Of several that are decided about at the same time, one has it, and the others wait until it is given up."""
    found, places = cluster(a=0), reservations()
    tasks = {asyncio.create_task(places.reserve(name, on_accelerator(name))) for name in ("one", "two", "three")}
    for left in (2, 1, 0):
        done, tasks = await asyncio.wait(tasks, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        (reserved,) = [task.result() for task in done]
        await asyncio.sleep(0.05)
        assert left == sum(not task.done() for task in tasks)
        await reserved.release()

    assert 3 == len(found.placed)
    assert [] == found.groups


@pytest.mark.parametrize(
    ("gib", "memory", "placed"),
    [((20.0,), "auto", ("b", 0.382)), ((2.0,), "auto", ("b", 0.057)), ((40.0, 20.0), "auto", ("b", 1.0))],
)
async def test_the_place_is_by_the_bytes_of_its_node(
    cluster: Callable[..., Cards], weights: Callable[..., None], gib: tuple[float, ...], memory: str, placed: Any
) -> None:
    """A share is that of the accelerator that has it, and what the smaller one does not hold is on the larger."""
    found = cluster(a=24, b=80)
    weights(*gib)
    await reservations().reserve("new", on_accelerator(memory=memory))

    assert [placed] == found.placed


async def test_a_model_that_no_accelerator_holds_is_on_the_largest(
    cluster: Callable[..., Cards], weights: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    """It may offload, as on one machine; the log has the numbers."""
    found = cluster(a=24, b=40)
    weights(50)
    with caplog.at_level(logging.WARNING):
        await reservations().reserve("new", on_accelerator())

    assert [("b", 1.0)] == found.placed
    assert "Model 'new' needs about 75.50 GiB of an accelerator" in caplog.text
    assert "models may use 40.00 GiB of the largest one of the cluster" in caplog.text


@pytest.mark.parametrize(
    ("memory", "limit", "refused"), [("full", 80, True), ("full", None, False), ("auto", 80, False)]
)
async def test_a_model_that_does_not_offload_is_refused(
    cluster: Callable[..., Cards], weights: Callable[..., None], memory: str, limit: int | None, refused: bool
) -> None:
    """Only where its weights exceed the largest accelerator, or what may be used of it; the error has the numbers."""
    cluster(a=24, b=141)
    weights(60, 40)
    places = reservations(limits={"cuda": limit * GIB} if limit else {})
    if not refused:
        await places.reserve("new", on_accelerator(memory=memory))
        return
    words = r"'new' needs 100.00 GiB of an accelerator for its weights, and models may use 80.00 GiB of the largest one"
    with pytest.raises(OutOfMemoryError, match=words):
        await places.reserve("new", on_accelerator(memory=memory))


async def test_a_model_that_offloads_needs_its_largest_component(
    cluster: Callable[..., Cards], weights: Callable[..., None]
) -> None:
    """The rest is on the host while it is not in use."""
    found = cluster(a=24, b=20)
    weights(6, 6, 6, 6)
    places = reservations()
    await places.reserve("offloads", on_accelerator("offloads", memory="model_cpu_offload"))
    await places.reserve("auto", on_accelerator("auto"))

    # The other one needs more than any has, and gets the largest that has room.
    assert [("a", 0.396), ("b", 1.0)] == found.placed


async def test_what_waits_for_an_autoscaler_leaves_out_small_accelerators(
    cluster: Callable[..., Cards], weights: Callable[..., None]
) -> None:
    """It takes a node that joins with a larger one, with the share of the smallest that is suitable."""
    found = cluster(a=24)
    weights(20)
    places = reservations(grows=True)
    found.totals["b"] = {"GPU": 1.0, ACCELERATOR_BYTES: float(80 * GIB)}
    blocking = found.create([{"GPU": 1.0}], "", [{NODE_LABEL: "b"}])
    blocking._place()
    task = asyncio.create_task(places.reserve("new", on_accelerator()))
    await until(lambda: len(found.groups) == 2)
    await asyncio.sleep(0.05)

    assert "!in(a)" == found.groups[1].label
    assert not task.done()
    found.totals["c"] = {"GPU": 1.0}
    await asyncio.wait_for(task, 5)
    assert ("c", 0.382) == found.placed[-1]


async def test_a_node_that_is_drained_gets_no_replica(cluster: Callable[..., Cards]) -> None:
    """It is as if it were not there: a model that needs it is refused."""
    found = cluster(a=0, b=0)
    found.draining.add("a")
    places = reservations(timeout=0.1)
    await places.reserve("one", on_accelerator("one"))
    with pytest.raises(CapacityError, match=r"in 0\.1 seconds"):
        await places.reserve("two", on_accelerator("two"))
    found.draining.add("b")
    with pytest.raises(CapacityError, match="even if it were idle"):
        await places.reserve("three", on_accelerator("three"))

    assert [("b", 1.0)] == found.placed


def engine_on(workers: FakeWorkers, **options: Any) -> RayEngine:
    """Return an engine whose workers have places on the cluster, until they end."""

    async def start(reserve: Any, order: Any, *arguments: Any) -> Any:
        reserved = await reserve(order.model)
        worker = await workers.start(order, *arguments)
        end = worker.stop

        async def stop() -> None:
            await end()
            await reserved.release()

        worker.stop = stop  # type: ignore[method-assign]
        return worker

    return RayEngine(start_worker=start, load_timeout=20.0, **options)


@pytest.mark.parametrize(
    ("error", "sizes", "nodes"),
    [
        (OutOfMemoryError("Memory ran out."), {"a": 40, "b": 24, "c": 80}, ["c"]),
        (OutOfMemoryError("Memory ran out."), {"a": 40, "b": 24, "c": 40}, ["a"]),
        (DeviceError("The device has failed."), {"a": 40, "b": 24, "c": 40}, ["a", "c"]),
        (DeviceError("The device has failed."), {"a": 40}, ["a"]),
    ],
)
async def test_a_place_where_a_load_fails_is_replaced(
    cluster: Callable[..., Cards], error: Any, sizes: dict[str, int], nodes: list[str]
) -> None:
    """By one with more memory, where that ran out, or on another node; a warning states why; without one it has failed."""
    found, failures = cluster(**sizes), list[str]()
    elsewhere = len(nodes) > 1 or nodes == ["c"]
    workers = FakeWorkers(answers=(LoadFailed(error), Loaded("cuda", 0.1)))
    engine = engine_on(workers, on_out_of_memory=failures.append)
    if nodes == ["c"]:
        found.groups.append(taken := Group(found, 1.0, "c"))
        taken._place()
    loading = asyncio.create_task(engine.load(on_accelerator(), "StableDiffusionPipeline"))
    await workers.next_started()
    if nodes == ["c"]:
        found.groups.remove(taken)
    if not elsewhere:
        with pytest.raises(type(error)):
            await loading
    else:
        await loading
        assert nodes[-1] == found.placed[-1][0]
    assert [] == [each for each in found.groups if each.node == "b"]
    assert (["new"] if isinstance(error, OutOfMemoryError) else []) == failures
    await engine.close()


async def test_a_call_has_a_warning_where_its_model_is_elsewhere(cluster: Callable[..., Cards]) -> None:
    """It names the model, and why."""
    cluster(a=40, b=40)
    workers = FakeWorkers(answers=(LoadFailed(DeviceError("The device has failed.")), Loaded("cuda", 0.1)))
    engine = engine_on(workers)
    events = [event async for event in engine.generate(call("new", device="cuda"))]

    assert any("'new' is loaded on another node: The device has failed." in each for each in events[-1].warnings)  # type: ignore[union-attr]
    await engine.close()
