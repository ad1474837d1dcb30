"""The queue of a model with several replicas, whose workers answer in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fake_worker import Client, FakeWorker, FakeWorkers, call, settle
from octabox.config.model import ModelConfig
from octabox.engine.messages import CancelCall, Loaded, LoadFailed
from octabox.engine.ray import replicated_queue
from octabox.engine.ray.engine import RayEngine
from octabox.engine.ray.reservations import Reservations
from octabox.errors import LoadError, QueueFullError, ServerStoppingError, WorkerDiedError


class Places(Reservations):
    """The places of a cluster that is not there.

    Args:
        count: How many replicas have room.
    """

    def __init__(self, count: int = 8) -> None:
        super().__init__("cpu", 1.0, grows=False)
        self.left = count

    async def has_room(self, model: ModelConfig) -> bool:
        """Return whether there is room for one more replica."""
        del model
        return self.left > 0


def engine_of(workers: FakeWorkers, places: Places | None = None, **options: Any) -> RayEngine:
    """Return an engine whose workers are not on a cluster."""
    found = places or Places()

    async def start(_reserve: Any, *arguments: Any) -> FakeWorker:
        found.left -= 1
        return await workers.start(*arguments)

    return RayEngine(start_worker=start, reservations=found, queue_size=64, **options)


def client_of(engine: RayEngine) -> Client:
    """Return the caller of a new call, whose error need not be awaited, as where the engine is closed."""
    client = Client(engine, call())
    client.task.add_done_callback(lambda task: task.cancelled() or task.exception())
    return client


async def busy_engine(workers: FakeWorkers, count: int, **options: Any) -> tuple[RayEngine, list[Client], FakeWorker]:
    """Return an engine with so many callers, of which the first one's call runs."""
    engine = engine_of(workers, **options)
    clients = [client_of(engine)]
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    clients += [client_of(engine) for _ in range(count - 1)]
    await settle()
    return engine, clients, worker


async def test_a_long_queue_gets_more_replicas() -> None:
    """Where calls wait longer than a load takes, another replica is loaded, and runs the next one."""
    workers = FakeWorkers(runs=False)
    engine, clients, first = await busy_engine(workers, 8)
    second = await workers.next_started()
    taken = await second.next_call()

    assert clients[1].call == taken
    assert "busy" == engine.status()[0].state
    assert clients[0].call.id in first.calls
    await engine.close()


async def test_a_short_queue_gets_none() -> None:
    """One call that waits for a second is served by the replica that there is."""
    workers = FakeWorkers(runs=False)
    engine, clients, first = await busy_engine(workers, 2)
    first.finish(clients[0].call)
    first.finish(await first.next_call())

    assert await clients[1].result()
    assert 1 == len(workers.started)
    await engine.close()


@pytest.mark.parametrize(("options", "count"), [({"max_replicas": 2}, 2), ({"places": Places(1)}, 1)])
async def test_replicas_have_limits(options: dict[str, Any], count: int) -> None:
    """No more are loaded than the setting allows, or than have room."""
    workers = FakeWorkers(runs=False)
    engine, _, _ = await busy_engine(workers, 20, **options)
    if count > 1:
        await workers.next_started()
    await settle()

    assert count == len(workers.started)
    await engine.close()


async def test_a_cancel_reaches_the_replica_that_has_the_call() -> None:
    """It is sent to no other one."""
    workers = FakeWorkers(runs=False)
    engine, clients, first = await busy_engine(workers, 8)
    second = await workers.next_started()
    second.start_run(await second.next_call())
    await settle()
    await clients[1].leave()

    assert clients[1].call.id == await second.next_cancel()
    assert not [message for message in first.received if isinstance(message, CancelCall)]
    await engine.close()


async def test_a_replica_that_is_lost_loses_no_call() -> None:
    """A call that it had not begun, and one that it had, run on another replica; the second one has a warning."""
    workers = FakeWorkers(runs=False)
    engine, clients, first = await busy_engine(workers, 2)
    first.exit(WorkerDiedError("The node was lost."))
    for _ in clients:
        worker = workers.started[-1] if len(workers.started) > 1 else await workers.next_started()
        taken = await worker.next_call()
        worker.start_run(taken)
        worker.finish(taken)
    results = [await client.result() for client in clients]

    assert any("was run again" in warning for warning in results[0].warnings)
    assert () == results[1].warnings
    await engine.close()


async def test_a_call_whose_replicas_are_lost_twice_is_an_error() -> None:
    """It is not tried for ever."""
    workers = FakeWorkers(runs=False)
    engine, clients, worker = await busy_engine(workers, 1)
    worker.exit(WorkerDiedError("The node was lost."))
    other = await workers.next_started()
    other.start_run(await other.next_call())
    await settle()
    other.exit(WorkerDiedError("The node was lost."))

    with pytest.raises(WorkerDiedError, match="The node was lost"):
        await clients[0].result()
    await engine.close()


async def test_a_replica_that_is_lost_in_its_load_is_replaced() -> None:
    """The request does not fail, unless that happens again."""
    lost = WorkerDiedError("The node was lost.")
    engine = engine_of(FakeWorkers(answers=[lost]))
    assert await Client(engine, call()).result()

    with pytest.raises(WorkerDiedError, match="The node was lost"):
        await Client(engine_of(FakeWorkers(answers=[lost, lost, lost])), call()).result()


async def test_a_model_that_cannot_be_loaded_is_an_error() -> None:
    """It is not loaded again for the same request."""
    workers = FakeWorkers(answers=[LoadFailed(LoadError("The weights are not readable."))])

    with pytest.raises(LoadError, match="not readable"):
        await Client(engine_of(workers), call()).result()
    assert 1 == len(workers.started)


async def test_another_replica_that_cannot_be_loaded_harms_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls that wait run on the replica that there is, and it is not tried again for a while."""
    monkeypatch.setattr(replicated_queue, "SCALE_UP_DELAY", 1000)
    workers = FakeWorkers(runs=False, answers=[Loaded("cpu", 0.1), LoadFailed(LoadError("The node is too small."))])
    engine = engine_of(workers)
    first_call = call()
    client = Client(engine, first_call)
    first = await workers.next_started()
    first.start_run(await first.next_call())
    others = [Client(engine, call()) for _ in range(7)]
    await workers.next_started()
    await settle()
    first.finish(first_call)
    for _ in others:
        first.finish(await first.next_call())

    assert [await each.result() for each in (client, *others)]
    assert 2 == len(workers.started)
    await engine.close()


async def test_unload_ends_all_replicas_and_the_next_call_starts_one() -> None:
    """This is also what happens for lack of requests: the cluster is free, and the next call loads the model."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    await Client(engine, call()).result()

    assert await engine.unload("demo")
    assert [] == engine.status()
    assert not await engine.unload("demo")
    assert await Client(engine, call()).result()
    assert 2 == len(workers.started)
    await engine.close()


async def test_a_model_without_requests_leaves_memory() -> None:
    """After its time, all of its replicas are ended, and the next request loads one."""
    evicted: list[tuple[str, str]] = []
    workers = FakeWorkers()
    engine = engine_of(workers, keep_alive=0.05, on_evict=lambda *each: evicted.append(each))
    await Client(engine, call()).result()
    (worker,) = workers.started
    while worker.alive:  # noqa: ASYNC110 (a worker has no event for it)
        await asyncio.sleep(0.01)

    assert await Client(engine, call()).result()
    assert ("demo", "keep_alive") in evicted
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


async def test_a_full_queue_refuses() -> None:
    """The places are those of the model, whatever the number of its replicas."""
    workers = FakeWorkers(runs=False)
    engine, _, _ = await busy_engine(workers, 65, places=Places(1))

    with pytest.raises(QueueFullError, match="full"):
        engine.check_room("demo", "")
    await engine.close()
