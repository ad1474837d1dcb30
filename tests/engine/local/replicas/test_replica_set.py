"""Several replicas of a model on the devices of one machine; with workers that load nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fake_worker import LIMIT, PIPELINE, Client, FakeWorker, FakeWorkers, call, engine_of, settle
from fake_worker import model as configuration
from octabox.engine.cluster import autoscaling
from octabox.engine.local.devices import DevicePool
from octabox.engine.local.engine import LocalEngine
from octabox.engine.local.queue.queued_request import MAX_WORKERS
from octabox.engine.local.replicas import local_replica, replica_set
from octabox.engine.local.replicas.replica_set import ModelWorth
from octabox.engine.local.resident import room
from octabox.engine.local.resident.budget import MemoryNeed
from octabox.engine.messages import (
    DeviceMemory,
    Loaded,
    LoadFailed,
    Memory,
    Survey,
    WakeUp,
    WeightsMoved,
    WorkerOptions,
)
from octabox.errors import DeviceError, LoadError, OutOfMemoryError, ServerStoppingError, WorkerDiedError
from octabox.types import AdapterChoice

#: Bytes of a device, and of a model on it.
DEVICE_BYTES, MODEL_BYTES = 1000, 600


@pytest.fixture(autouse=True)
def devices(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the machine have two accelerators, and return what changes how many."""

    def change(count: int, free: int = DEVICE_BYTES) -> None:
        found = Survey(devices=tuple(DeviceMemory(f"cuda:{number}", free) for number in range(count)))
        monkeypatch.setattr(DevicePool, "ask", lambda *_: found)

    change(2)
    return change


def anywhere(**fields: Any) -> Any:
    """Return a call of a model that may be on any device."""
    return call(device=None, **fields)


async def started(engine: LocalEngine, workers: FakeWorkers, callers: int, **fields: Any) -> list[Client]:
    """Return the clients of calls, of which the first runs on a loaded model."""
    clients = [Client(engine, anywhere(**fields)) for _ in range(callers)]
    worker = await workers.next_started()
    worker.post(Memory({"cuda:0": MODEL_BYTES}))
    await settle()
    await asyncio.sleep(0.05)  # The devices are looked for in a thread.
    return clients


async def run_all(clients: list[Client], *workers: FakeWorker) -> list[list[str]]:
    """Let workers run the calls that they are sent until all clients have their results; return the ids by worker."""
    ran: list[list[str]] = [[] for _ in workers]

    async def run(worker: FakeWorker, ids: list[str]) -> None:
        while True:
            running = await worker.next_call()
            ids.append(running.id)
            worker.start_run(running)
            worker.finish(running)

    tasks = [asyncio.create_task(run(worker, ids)) for worker, ids in zip(workers, ran, strict=True)]
    await asyncio.wait_for(asyncio.gather(*(client.task for client in clients)), LIMIT)
    for task in tasks:
        task.cancel()
    return ran


def dead(workers: FakeWorkers) -> list[FakeWorker]:
    """Return the workers that were ended."""
    return [worker for worker in workers.started if not worker.alive]


def residents(engine: LocalEngine) -> list[Any]:
    """Return the replicas in memory."""
    return [*engine._residency.models.occupants()]


def expect(engine: LocalEngine, run_seconds: float) -> None:
    """Let each call of the models in memory be expected to take so long, as after many of them."""
    for each in residents(engine):
        worth = each._owner.worth
        costs = replace(worth.costs, run_seconds=run_seconds)
        worth._demand = replace(worth._demand, costs=costs, runs=99)


async def test_callers_of_one_model_use_both_devices() -> None:
    """A second replica is loaded on the other device while requests wait, both run calls, and the status shows both."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    clients = await started(engine, workers, 8)
    ran = await run_all(clients, workers.started[0], await workers.next_started())
    (status,) = engine.status()

    assert 8 == sum(map(len, ran))
    assert all(ran)
    assert ["cuda:0", "cuda:1"] == [worker.start.model.device for worker in workers.started]
    assert ["cuda:0", "cuda:1"] == [each.device for each in status.replicas]
    assert 2 == len({each.pid for each in status.replicas})
    assert await engine.unload("demo")
    assert [] == engine.status()


async def test_one_caller_uses_one_device() -> None:
    """No replica is loaded where nothing waits for long enough."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    for _ in range(4):
        await Client(engine, anywhere()).task
    await settle()

    assert 1 == len(workers.started)
    assert () == engine.status()[0].replicas


async def test_as_many_replicas_are_loaded_as_are_configured() -> None:
    """With `replicas: 2`, the second one is loaded without a queue; with 1, none is, whatever waits."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    await Client(engine, anywhere(replicas=2)).task
    for _ in range(2):
        await workers.next_started()
    assert 2 == len(workers.started)

    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    clients = await started(engine, workers, 8, replicas=1)
    await run_all(clients, workers.started[0])
    assert 1 == len(workers.started)


@pytest.mark.parametrize(("count", "free"), [(1, DEVICE_BYTES), (2, 10)])
async def test_no_replica_is_loaded_without_room(devices: Any, count: int, free: int) -> None:
    """With one device, or where the other one is full, all calls run on the one replica."""
    devices(count, free)
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    clients = await started(engine, workers, 8)
    await run_all(clients, workers.started[0])

    assert 1 == len(workers.started)


@pytest.mark.parametrize("idle", [True, False])
async def test_a_model_that_is_worth_less_makes_room_for_a_replica(idle: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where requests wait, an idle model of the other device leaves memory; one in use stays."""
    monkeypatch.setattr(room, "memory_need", lambda _model, _class, device, _dtype: MemoryNeed({device: MODEL_BYTES}))
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers, options=WorkerOptions(max_memory={"devices": DEVICE_BYTES}))
    other = Client(engine, call("other", device="cuda:1"))
    beside = await workers.next_started()
    beside.post(Memory({"cuda:1": DEVICE_BYTES}))
    beside.move_error = OutOfMemoryError("The host is full.")
    taken = await beside.next_call()
    beside.start_run(taken)
    if idle:
        beside.finish(taken)
        await other.result()
        for each in residents(engine):
            each.supervisor.worker.loaded = replace(each.supervisor.worker.loaded, seconds=0.01)
    clients = await started(engine, workers, 8)
    if idle:
        await workers.next_started()
    await settle()

    assert idle == (not beside.alive)
    assert (["cuda:1", "cuda:0", "cuda:1"] if idle else ["cuda:1", "cuda:0"]) == [
        each.start.model.device for each in workers.started
    ]
    await engine.close()
    await asyncio.gather(other.task, *(client.task for client in clients), return_exceptions=True)


async def test_a_call_that_takes_longer_than_expected_gets_a_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a request has waited for as long as a load takes, though nothing arrives that would lead to a decision."""
    monkeypatch.setattr(replica_set, "MIN_LOAD_SECONDS", 1.0)
    monkeypatch.setattr(autoscaling, "MIN_LOAD_SECONDS", 1.0)
    monkeypatch.setattr(autoscaling, "SPARE_SHARE", -1.0)  # No replica is loaded before that.
    monkeypatch.setattr(replica_set, "PAUSE", 0.0)
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    clients = await started(engine, workers, 1)
    expect(engine, run_seconds=0.01)
    clients.append(Client(engine, anywhere()))
    await asyncio.sleep(0.05)
    assert 1 == len(workers.started)

    await run_all(clients[1:], await workers.next_started())
    await engine.close()
    await asyncio.gather(clients[0].task, return_exceptions=True)


async def test_what_a_model_holds_in_its_sleep_is_not_what_a_replica_needs(devices: Any) -> None:
    """No other one is loaded on a device that is almost full, neither until the first one is awake nor after that."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    await run_all(await started(engine, workers, 1), workers.started[0])
    (worker,), (replica,) = workers.started, residents(engine)
    expect(engine, run_seconds=1.0)
    assert await replica.sleep()
    worker.post(Memory({"cuda:0": 0, "host": MODEL_BYTES}))
    devices(2, 10)
    worker.moves = False
    worker.asked.clear()
    clients = [Client(engine, anywhere()) for _ in range(8)]
    await asyncio.wait_for(worker.asked.wait(), LIMIT)
    clients.append(Client(engine, anywhere()))  # It arrives while the weights are moved back.
    await asyncio.sleep(0.05)
    assert [worker] == workers.started

    woken = worker.received[-1]
    assert isinstance(woken, WakeUp)
    worker.post(Memory({"cuda:0": MODEL_BYTES}), WeightsMoved(None, woken.number))
    await run_all(clients, worker)
    assert [worker] == workers.started
    await engine.close()


async def test_a_replica_that_cannot_be_loaded_fails_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """The calls run on the first one, and the log states why there is no other."""
    workers = FakeWorkers(runs=False, answers=[Loaded("cuda:0", 0.1), LoadFailed(LoadError("It is broken."))])
    engine = engine_of(workers)
    clients = await started(engine, workers, 8)
    await run_all(clients, workers.started[0])

    assert "No other replica of 'demo' is loaded: It is broken." in caplog.text


async def test_a_device_that_fails_is_replaced_by_the_other_one() -> None:
    """The model is loaded on the other device, and the result of the request has the warning."""
    workers = FakeWorkers(answers=[LoadFailed(DeviceError("The device was lost."))])
    engine = engine_of(workers)
    generation = await Client(engine, anywhere()).task

    assert ["cuda:0", "cuda:1"] == [worker.start.model.device for worker in workers.started]
    assert ("Model 'demo' is loaded on another device than cuda:0: The device was lost.",) == generation.warnings


async def test_calls_of_a_replica_that_ends_are_run_by_the_other_one() -> None:
    """A call that was not begun there is sent to the replica that is left."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    clients = await started(engine, workers, 8)
    first, second = workers.started[0], await workers.next_started()
    lost = await second.next_call()
    second.exit(WorkerDiedError("It was killed."))
    (ran,) = await run_all(clients, first)

    assert lost.id in ran
    assert {client.call.id for client in clients} == set(ran)


@pytest.mark.parametrize("losses", [1, 2, 3])
async def test_a_replica_that_is_lost_in_its_load_is_replaced(losses: int) -> None:
    """Where a worker of another machine is lost before it has begun, the request fails only after a third one."""
    lost = WorkerDiedError("The node was lost.", lost=True)
    workers = FakeWorkers(answers=[lost] * losses)
    client = Client(engine_of(workers), anywhere())
    if losses > MAX_WORKERS:
        with pytest.raises(WorkerDiedError, match="The node was lost"):
            await client.result()
    else:
        assert () == (await client.result()).warnings

    assert min(losses + 1, 3) == len(workers.started)


async def test_a_replica_that_is_not_needed_leaves_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was used last stays, whatever its `keep_alive`; the next queue loads the other one again."""
    monkeypatch.setattr(local_replica, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(replica_set, "PAUSE", 0.0)  # A third one, which has no device, is tried for.
    evicted: list[tuple[str, str]] = []
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers, on_evict=lambda *each: evicted.append(each))
    clients = await started(engine, workers, 8)
    await run_all(clients, workers.started[0], await workers.next_started())
    await asyncio.sleep(0.15)
    (status,) = engine.status()

    assert [("keep_alive", False)] == [
        (reason, each.alive) for (_, reason), each in zip(evicted, dead(workers), strict=True)
    ]
    assert ((), None) == (status.replicas, status.time_left)
    expect(engine, run_seconds=1.0)
    clients = [Client(engine, anywhere()) for _ in range(8)]
    left = next(worker for worker in workers.started if worker.alive)
    await run_all(clients, left, await workers.next_started())
    assert {"demo", "demo (replica 2)"} == {each.name for each in residents(engine)}
    await engine.close()


async def test_configured_replicas_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `replicas: 2`, neither is unloaded for lack of requests."""
    monkeypatch.setattr(local_replica, "IDLE_SECONDS", 0.05)
    workers = FakeWorkers()
    engine = engine_of(workers)
    await Client(engine, anywhere(replicas=2)).task
    await asyncio.sleep(0.2)

    assert [True, True] == [worker.alive for worker in workers.started]
    assert 2 == len(engine.status()[0].replicas)
    await engine.close()


async def test_a_pin_keeps_one_replica() -> None:
    """The others may make room for another model; the status of the model is pinned."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    clients = await started(engine, workers, 8, pin=True)
    await run_all(clients, workers.started[0], await workers.next_started())

    assert [False, True] == sorted(each.pinned for each in residents(engine))
    assert engine.status()[0].pinned
    await engine.close()


async def test_a_status_names_the_machine_of_each_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device of a worker on another machine has its address, alone and next to others; bytes are added."""
    monkeypatch.setattr(FakeWorker, "node", "10.0.0.6")
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    clients = await started(engine, workers, 8)
    alone = engine.status()[0].device
    second = await workers.next_started()
    second.post(Memory({"cuda:0": MODEL_BYTES}, allocated={"cuda:0": 5}))
    await run_all(clients, workers.started[0], second)
    (status,) = engine.status()

    assert "cuda:0 on 10.0.0.6" == alone
    assert ["cuda:0 on 10.0.0.6", "cuda:1 on 10.0.0.6"] == [each.device for each in status.replicas]
    assert ({"cuda:0": 2 * MODEL_BYTES}, {"cuda:0": 5}) == (status.memory, status.allocated)
    await engine.close()


async def test_the_replica_with_the_adapters_serves_a_request() -> None:
    """Of two idle replicas, the one whose last call applied them is woken."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    plain = Client(engine, anywhere(replicas=2))
    first, second = await workers.next_started(), await workers.next_started()
    adapted = anywhere(replicas=2)
    adapted = replace(adapted, runs=(replace(adapted.runs[0], adapters=(AdapterChoice("style"),)),))
    client = Client(engine, adapted)
    assert client.call is await second.next_call()  # The first one is busy.
    second.finish(client.call)
    first.finish(await first.next_call())
    await asyncio.gather(plain.task, client.task)
    await settle()
    again, other = (
        Client(engine, replace(adapted, id="again")),
        Client(engine, replace(anywhere(replicas=2), id="other")),
    )

    assert ("again", "other") == ((await second.next_call()).id, (await first.next_call()).id)
    await engine.close()
    results = await asyncio.gather(again.task, other.task, return_exceptions=True)
    assert {ServerStoppingError} == set(map(type, results))


async def test_loads_of_a_model_leave_one_replica() -> None:
    """A load without a call loads the model once."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    await asyncio.gather(*(engine.load(configuration(device=None), PIPELINE) for _ in range(2)))
    await settle()

    assert 1 == len(workers.started)


def test_what_is_requested_often_is_worth_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """More requests, a longer load and a shorter idle time keep a model in memory; a second replica is worth less."""
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    rare, often = ModelWorth(), ModelWorth()
    assert 0 == rare.of_replica(1)  # Nobody has requested it.
    longer = ModelWorth()
    for model, seconds in ((rare, 30), (often, 30), (longer, 60)):
        model.note_load(seconds)
        model.note_run(2)
    for model, count in ((rare, 1), (often, 50), (longer, 1)):
        for _ in range(count):
            model.note_request()
    now += 600

    assert 0 < rare.of_replica(1) < often.of_replica(1)
    assert longer.of_replica(1) == pytest.approx(2 * rare.of_replica(1))
    assert often.of_replica(2) < often.of_replica(1)
    before = rare.of_replica(1)
    now += 3 * 86400
    assert 0 < rare.of_replica(1) < before


def test_one_long_call_changes_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a model is worth is by the averages of its calls and loads, also where the last one took ten times as long."""
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    worth = ModelWorth()
    for _ in range(10):
        worth.note_request()
        worth.note_run(2)
        worth.note_load(20)
    worth.note_run(20)
    worth.note_load(200)

    assert 2 < worth.costs.run_seconds < 6
    assert 20 < worth.costs.load_seconds < 60


async def test_calls_and_loads_are_learned_from() -> None:
    """Those of all replicas count, and what wakes up was not loaded; the queue expects what its calls took on average."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    await run_all(await started(engine, workers, 3, replicas=1), workers.started[0])
    (replica,) = residents(engine)
    demand = replica._owner.worth._demand
    assert (3, 1) == (demand.runs, demand.loads)
    assert await replica.sleep()
    await run_all([Client(engine, anywhere(replicas=1))], workers.started[0])
    after = replica._owner.worth._demand

    assert (4, 1) == (after.runs, after.loads)
    assert after.costs.run_seconds == replica._owner.worth.costs.run_seconds
    await engine.close()
