"""Models in use that give their places to others."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from fake_worker import Client, FakeWorker, FakeWorkers, call, engine_of, result, settle
from octabox.engine.cluster.turns import Claim, Turn
from octabox.engine.local.engine import LocalEngine
from octabox.engine.local.resident import room
from octabox.engine.local.resident.budget import MemoryBudget, MemoryNeed
from octabox.engine.local.resident.turns import PlaceTurns
from octabox.engine.messages import Finished, Loaded, Memory, RunFinished, Sleep, ToWorker, WakeUp, WorkerOptions
from octabox.errors import WorkerDiedError
from queue_houses import until


async def in_use(load_seconds: float = 0.0) -> tuple[LocalEngine, FakeWorkers, FakeWorker, list[Client], Client]:
    """Return an engine with room for one model, of which one call runs and one waits, and the caller of another one."""
    workers = FakeWorkers(runs=False, answers=[Loaded("cpu", load_seconds)] * 3)
    engine = engine_of(workers, max_resident=1)
    clients = [Client(engine, call("busy"))]
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    clients.append(Client(engine, call("busy")))
    await settle()
    other = Client(engine, call("other"))
    await settle()
    clients.append(Client(engine, call("busy")))
    await settle()
    for each in (*clients, other):  # A test may end before they do.
        each.task.add_done_callback(lambda task: task.cancelled() or task.exception())
    return engine, workers, worker, clients, other


async def run_next(worker: FakeWorker) -> str:
    """Run the next call of a worker, and return its id."""
    taken = await worker.next_call()
    worker.start_run(taken)
    worker.finish(taken)
    await settle()
    return taken.id


async def test_a_model_in_constant_use_gives_its_place_to_a_request_that_has_waited_longer() -> None:
    """It runs what is earlier, and is loaded again for what is later; no request is lost."""
    engine, workers, worker, clients, other = await in_use()
    worker.finish(clients[0].call)
    second = await run_next(worker)
    between = await workers.next_started()
    ran = [second, await run_next(between), await run_next(await workers.next_started())]

    assert [clients[1].call.id, other.call.id, clients[2].call.id] == ran
    assert [False, False, True] == [each.alive for each in workers.started]
    for each in (*clients, other):
        await each.result()
    await engine.close()


async def test_a_model_whose_outputs_are_still_encoded_takes_no_later_request() -> None:
    """It makes room once that is done, too."""
    engine, workers, worker, clients, other = await in_use()
    worker.post(RunFinished(clients[0].call.id))
    second = await worker.next_call()
    worker.start_run(second)
    worker.post(RunFinished(second.id))
    await settle()
    assert [worker] == workers.started
    assert clients[1].call.id == second.id
    assert 2 == len(worker.calls)

    worker.post(*(Finished(each.call.id, result(each.call)) for each in clients[:2]))
    assert other.call.id == await run_next(await workers.next_started())
    await engine.close()


async def test_a_model_that_was_just_loaded_keeps_its_place() -> None:
    """Otherwise each request would take a load."""
    engine, workers, worker, clients, other = await in_use(load_seconds=100.0)
    worker.finish(clients[0].call)
    ran = [await run_next(worker), await run_next(worker), await run_next(await workers.next_started())]

    assert [clients[1].call.id, clients[2].call.id, other.call.id] == ran
    await engine.close()


async def test_a_model_that_woke_up_keeps_its_place_by_what_that_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights were moved in milliseconds, so that another one does not wait for three times as long as its load took."""
    monkeypatch.setattr(room, "memory_need", lambda _model, _class, device, _dtype: MemoryNeed({device: 10}))
    monkeypatch.setattr(MemoryBudget, "host_takes", lambda *_: True)
    send = FakeWorker.send

    async def report_memory(worker: FakeWorker, message: ToWorker) -> None:
        if isinstance(message, Sleep | WakeUp):
            worker.post(Memory({"cuda:0": 10} if isinstance(message, WakeUp) else {}))
        await send(worker, message)

    monkeypatch.setattr(FakeWorker, "send", report_memory)
    workers = FakeWorkers(runs=False, answers=[Loaded("cuda:0", 100.0)] * 2)
    engine = engine_of(workers, options=WorkerOptions(max_memory={"cuda:0": 10}))
    processes = list[FakeWorker]()
    for name in ("one", "two"):
        client = Client(engine, call(name, device="cuda:0"))
        processes.append(await workers.next_started())
        processes[-1].post(Memory({"cuda:0": 10}))
        await run_next(processes[-1])
        await client.result()
    clients = [Client(engine, call("one", device="cuda:0"))]
    running = await processes[0].next_call()
    processes[0].start_run(running)
    clients += [Client(engine, call(name, device="cuda:0")) for name in ("two", "one")]
    (replica,) = [each for queue in engine._queues for each in queue._replicas if each.turn]
    await until(lambda: replica.yields_to)
    processes[0].finish(running)

    assert clients[1].call.id == await run_next(processes[1])
    assert clients[2].call.id == await run_next(processes[0])
    assert processes == workers.started
    await asyncio.gather(*(each.result() for each in clients))
    await engine.close()


async def test_a_model_takes_requests_again_where_nobody_needs_its_place() -> None:
    """The caller that it was to make room for has left."""
    engine, workers, worker, clients, other = await in_use()
    worker.finish(clients[0].call)
    running = await worker.next_call()
    worker.start_run(running)
    await settle()
    await other.leave()
    worker.finish(running)

    assert clients[2].call.id == await run_next(worker)
    assert [worker] == workers.started
    await engine.close()


async def test_a_model_whose_worker_ends_while_it_makes_room_waits_for_its_turn() -> None:
    """The call that it had runs first, since it is the earliest, then that of the other model."""
    engine, workers, worker, clients, other = await in_use()
    worker.finish(clients[0].call)
    running = await worker.next_call()
    await settle()
    worker.exit(WorkerDiedError("It was killed."))
    ran = [await run_next(await workers.next_started()) for _ in range(3)]

    assert [running.id, other.call.id, clients[2].call.id] == ran
    await engine.close()


async def test_models_that_make_room_together_are_not_loaded_again_before_the_other_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first of them to end has requests that wait, which would take its place again while the second one ends."""
    stop = FakeWorker.stop

    async def stop_slowly(worker: FakeWorker) -> None:
        await asyncio.sleep(0.1)
        await stop(worker)

    sizes = {"one": 10, "two": 10, "other": 20}
    monkeypatch.setattr(FakeWorker, "stop", stop_slowly)
    monkeypatch.setattr(room, "memory_need", lambda model, *_: MemoryNeed({"host": sizes[model.name]}))
    workers = FakeWorkers(runs=False, answers=[Loaded("cpu", 0.0)] * 5)
    engine = engine_of(workers, options=WorkerOptions(max_memory={"host": 20}))
    clients = [Client(engine, call(name)) for name in ("one", "two")]
    running = [(worker := await workers.next_started(), await worker.next_call()) for _ in clients]
    for worker, started in running:
        worker.start_run(started)
        worker.post(Memory({"host": 10}))
    await settle()
    other = Client(engine, call("other"))
    await asyncio.sleep(0.1)
    later = [Client(engine, call(name)) for name in ("one", "two")]
    await settle()
    for worker, started in running:
        worker.finish(started)
    third = await workers.next_started()
    assert "other" == third.start.model.name

    taken = await third.next_call()
    assert other.call.id == taken.id
    workers.run_all()  # Before those that wait for it can be sent any call.
    third.start_run(taken)
    third.finish(taken)
    for each in (*clients, other, *later):
        await each.result()
    await engine.close()


async def test_an_explicit_unload_of_a_model_that_makes_room_does_not_hang() -> None:
    """It ends the model once its call is done, as any."""
    engine, workers, worker, clients, other = await in_use()
    worker.finish(clients[0].call)
    running = await worker.next_call()
    worker.start_run(running)
    await settle()
    unload = asyncio.create_task(engine.unload("busy"))
    await settle()
    worker.finish(running)

    assert await asyncio.wait_for(unload, 20)
    assert other.call.id == await run_next(await workers.next_started())
    await engine.close()


def held(name: str, claim: Claim | None = None, turn: Turn | None = None, size: int = 10, **fields: Any) -> Any:
    """Return a model in use."""
    model = SimpleNamespace(
        name=name,
        claim=claim,
        turn=turn,
        yields_to="",
        has_yielded=False,
        idle=False,
        pinned=False,
        keep_value=1.0,
        last_used=0.0,
        memory={"cuda:0": size},
    )
    vars(model).update(fields)
    model.yield_to = lambda other: setattr(model, "yields_to", other)
    model.resume = lambda other: setattr(model, "yields_to", "" if model.yields_to == other else model.yields_to)
    return model


def test_as_many_models_make_room_as_are_needed() -> None:
    """Those that were chosen stay chosen, and a pinned one is never; another load does not take their places."""
    turn = Turn(0.0, 0.0, Claim(2.0))
    models = [held("one", turn=turn), held("two", turn=turn), held("pinned", turn=turn, pinned=True)]
    loads = [held("new", Claim(1.0)), held("later", Claim(1.5))]
    turns = PlaceTurns({each.name: each for each in (*models, *loads)})
    assert turns.request_place("new", models, "cuda:0", 10) is None
    models[0].keep_value = 9.0
    assert turns.request_place("new", models, "cuda:0", 10) is None
    assert turns.request_place("later", models, "cuda:0", 10) is not None
    assert ["new", "", ""] == [each.yields_to for each in models]

    assert turns.request_place("new", models, "cuda:0", 20) is None
    assert ["new", "new", ""] == [each.yields_to for each in models]
    assert turns.end("new")
    assert not turns.end("new")
    assert turns.request_place("later", models, "cuda:0", 10) is None
    assert ["", "later"] == [each.yields_to for each in models[:2]]


@pytest.mark.parametrize("turn", [Turn(0.0, 0.0, Claim(3.0, priority=1)), None])
def test_a_load_that_cannot_have_its_place_does_not_precede_others(turn: Turn | None) -> None:
    """It lacks that of a model whose requests have a higher priority, or which is being loaded; a later one needs less."""
    models = [held("kept", turn=turn), held("free", turn=Turn(0.0, 0.0, Claim(3.0)))]
    loads = [held("large", Claim(1.0)), held("small", Claim(2.0))]
    turns = PlaceTurns({each.name: each for each in (*models, *loads)})
    assert turns.request_place("large", models, "cuda:0", 20) is not None
    assert turns.request_place("small", models, "cuda:0", 10) is None
    assert ["", "small"] == [each.yields_to for each in models]

    turns.end("small")
    models[0].turn = Turn(time.perf_counter(), 10.0, Claim(3.0))  # It gives its place at the end of its turn.
    assert turns.request_place("small", models, "cuda:0", 10) == float("inf")


def test_a_load_that_no_request_waits_for_takes_no_place() -> None:
    """As that of another replica in the background."""
    model = held("one", turn=Turn(0.0, 0.0, Claim(2.0)))
    turns = PlaceTurns({"one": model, "new": held("new")})

    assert float("inf") == turns.request_place("new", [model])
    assert not model.yields_to


@pytest.mark.parametrize(("since", "awaited"), [(1.0, True), (3.0, False)])
def test_a_load_is_woken_where_a_model_has_to_give_its_place(since: float, awaited: bool) -> None:
    """That is where the next request of the model has arrived later than that of the load."""
    now = time.perf_counter()
    model = held("one", turn=Turn(0.0, 0.0, Claim(now + 2.0)))
    turns = PlaceTurns({"one": model, "new": held("new", Claim(now + since))})
    turns._waiting["new"] = (None, 1)

    assert awaited == turns.is_awaited(model)
