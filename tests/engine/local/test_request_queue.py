"""The queue of a model: order, positions and limit, and what becomes of requests whose clients leave."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from fake_worker import LIMIT, PIPELINE, Client, FakeWorker, FakeWorkers, call, engine_of, model, result, settle
from octabox.config.model import ModelConfig
from octabox.engine.local.engine import LocalEngine
from octabox.engine.local.queue import waiting_list
from octabox.engine.messages import BatchReport, Failed, Finished, Loaded, RunBatch, RunCall, RunFinished, StepDone
from octabox.errors import (
    DeviceError,
    GenerationCancelledError,
    LoadError,
    QueueFullError,
    ServerStoppingError,
    WorkerDiedError,
)
from octabox.security.temporary_folder import TemporaryFolder
from octabox.types import Artifact, Generation, OutputFormat, Progress


async def test_calls_run_in_the_order_of_their_arrival() -> None:
    """The next call is sent when the one before has run, not earlier."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    clients = [Client(engine, call()) for _ in range(3)]
    worker = await workers.next_started()
    for count, client in enumerate(clients, start=1):
        running = await worker.next_call()
        assert client.call is running
        assert count == len(worker.calls)
        worker.start_run(running)
        worker.finish(running)
        assert client.call.id == (await client.result()).id


async def test_calls_with_the_same_id_have_their_own_results() -> None:
    """Several clients may choose one id, also for a background job, which must not fail because of another client's request."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    one, two = call(), call()
    clients = [Client(engine, one), Client(engine, replace(two, id=one.id, task="image-to-image"))]
    worker = await workers.next_started()
    running = [await worker.next_call()]
    worker.start_run(running[0])
    worker.post(RunFinished(running[0].id))
    running.append(await worker.next_call())
    worker.start_run(running[1])
    for each in reversed(running):
        worker.finish(each)
    results = [await client.result() for client in clients]

    assert running[0].id != running[1].id
    assert [(one.id, "text-to-image"), (one.id, "image-to-image")] == [(each.id, each.task) for each in results]


async def test_a_call_whose_caller_has_left_ends_no_other_one_with_its_id() -> None:
    """Its outputs are still being encoded when the id is used again, as by a job that is cancelled and retried."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    first = Client(engine, one := call())
    worker = await workers.next_started()
    left = await worker.next_call()
    worker.start_run(left)
    worker.post(RunFinished(left.id))
    await settle()
    await first.leave()
    cancelled = await worker.next_cancel()
    again = Client(engine, replace(call(), id=one.id))
    running = await worker.next_call()
    worker.start_run(running)
    worker.post(Finished(left.id, replace(result(left), warnings=("That of the first one.",))))
    await settle()
    assert not again.task.done()
    worker.finish(running)
    generation = await again.result()
    await again.leave()

    assert left.id == cancelled != running.id
    assert (one.id, ()) == (generation.id, generation.warnings)


async def test_positions_count_the_requests_ahead() -> None:
    """A request is sent its position when it enters, and again whenever it moves up."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    clients = [Client(engine, call()) for _ in range(3)]
    worker = await workers.next_started()
    for client in clients:
        running = await worker.next_call()
        worker.start_run(running)
        worker.finish(running)
        await client.result()

    # Two more entered behind the first one, then each was taken out of the queue in turn.
    assert [[0, 0, 0], [1, 1, 1], [2, 2, 1]] == [client.positions for client in clients]


async def test_the_limit_is_how_many_may_wait() -> None:
    """With a limit of two, one call runs and two wait; one more is refused at once, until one has moved up."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers, queue_size=2)
    running = Client(engine, call())
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    waiting = [Client(engine, call()) for _ in range(2)]
    await settle()

    with pytest.raises(QueueFullError, match="2 requests are waiting") as caught:
        await Client(engine, call()).result()
    assert caught.value.retry_after >= 1.0
    with pytest.raises(QueueFullError, match="2 requests are waiting"):
        engine.check_room(call().model.name, "")
    engine.check_room("another", "")
    assert 2 == engine.status()[0].waiting

    worker.finish(running.call)
    worker.start_run(await worker.next_call())
    waiting.append(Client(engine, call()))
    await settle()
    assert not any(client.task.done() for client in waiting)
    await engine.close()
    await asyncio.gather(*(client.task for client in waiting), return_exceptions=True)


async def test_requests_that_wait_for_a_place_in_memory_are_counted() -> None:
    """Their model has no status, since it is not being loaded yet; one without any request is not counted either."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers, max_resident=1)
    running = Client(engine, call("one"))
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    clients = [Client(engine, call("two")) for _ in range(5)]
    await settle()

    assert ["one"] == [status.model for status in engine.status()]
    assert {"one": 0, "two": 5} == engine.waiting()
    for client in clients:
        await client.leave()
    await settle()
    assert {"one": 0} == engine.waiting()
    await engine.close()
    await asyncio.gather(running.task, return_exceptions=True)


async def test_clients_take_turns() -> None:
    """Whoever sends two requests behind sixty of another client waits for two of those, not for sixty."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers, queue_size=60)
    many = [Client(engine, replace(call(), client="many")) for _ in range(60)]
    worker = await workers.next_started()
    await settle()
    few = [Client(engine, replace(call(), client="few")) for _ in range(2)]
    await settle()
    for _ in range(6):
        running = await worker.next_call()
        worker.start_run(running)
        worker.finish(running)
        await settle()
    order = [client.call.id for client in (many[0], many[1], few[0], many[2], few[1], many[3])]

    assert set(order) == set(worker.calls[:6])
    assert all(client.task.done() for client in few)
    await engine.close()
    await asyncio.gather(*(client.task for client in many), return_exceptions=True)


async def test_a_call_of_a_higher_priority_takes_no_turns_from_others() -> None:
    """It is next; a client that comes after it waits for as many calls of the other one as without it."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    many = [Client(engine, replace(call(), client="many")) for _ in range(12)]
    worker = await workers.next_started()
    running = await worker.next_call()
    worker.start_run(running)
    many.append(Client(engine, replace(call(), client="many", priority=5)))
    await settle()
    worker.finish(running)
    running = await worker.next_call()
    worker.start_run(running)
    few = [Client(engine, replace(call(), client="few")) for _ in range(2)]
    await settle()
    order = []
    for _ in range(5):
        worker.finish(running)
        order.append(running := await worker.next_call())
        worker.start_run(running)
    await engine.close()
    await asyncio.gather(*(client.task for client in (*many, *few)), return_exceptions=True)

    assert ["many", "few", "many", "few", "many"] == [each.client for each in order]


async def test_no_client_fills_the_queue_of_others() -> None:
    """A full queue takes a share of each other client, which is limited too; whoever fills it is refused."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers, queue_size=4)
    many = [Client(engine, replace(call(), client="many"))]
    await (await workers.next_started()).next_call()
    many += [Client(engine, replace(call(), client="many")) for _ in range(4)]
    await settle()
    few = [Client(engine, replace(call(), client="few")) for _ in range(2)]
    await settle()
    for client in ("many", "few"):
        with pytest.raises(QueueFullError):
            await Client(engine, replace(call(), client=client)).result()
    others = [Client(engine, replace(call(), client=f"other {number}")) for number in range(9)]
    await settle()

    assert not any(each.task.done() for each in few)
    assert 8 == engine.status()[0].waiting
    await engine.close()
    await asyncio.gather(*(each.task for each in (*many, *few, *others)), return_exceptions=True)


async def test_refused_clients_come_back_one_after_another() -> None:
    """Each is sent another time, a run after the one before, so that they do not meet again; it is never far away."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers, queue_size=3)
    waiting = [Client(engine, call())]
    await (await workers.next_started()).next_call()
    waiting += [Client(engine, call()) for _ in range(3)]
    await settle()
    times = []
    for _ in range(10):
        with pytest.raises(QueueFullError) as caught:
            await Client(engine, call()).result()
        times.append(caught.value.retry_after)

    assert times == sorted(times)
    assert 4 <= len({round(each) for each in times})
    assert 1 <= times[0] < times[-1] <= 6.1
    await engine.close()
    await asyncio.gather(*(client.task for client in waiting), return_exceptions=True)


async def test_a_load_finds_no_queue_full() -> None:
    """Only calls are counted: to have a model in memory costs nothing more where it is used already."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers, queue_size=0)
    load = asyncio.create_task(engine.load(model(), PIPELINE))

    assert "ready" == (await asyncio.wait_for(load, LIMIT)).state
    with pytest.raises(QueueFullError):
        await Client(engine, call()).result()


async def test_a_call_that_continues_another_is_next() -> None:
    """The next part of a workflow does not wait behind those that came after its first part, nor is it refused."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers, queue_size=1)
    first = Client(engine, call())
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    behind = Client(engine, call())
    await settle()
    following = Client(engine, call(continues=True))
    await settle()

    assert [1] == following.positions
    assert 2 == behind.positions[-1]
    worker.finish(first.call)
    assert following.call is await worker.next_call()
    worker.start_run(following.call)
    worker.finish(following.call)
    assert behind.call is await worker.next_call()
    await engine.close()
    await behind.leave()


async def test_a_client_that_leaves_the_queue_frees_its_position() -> None:
    """Its call is never sent, and those behind it move up."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    first, second, third = (Client(engine, call()) for _ in range(3))
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    await second.leave()
    await settle()

    assert 1 == third.positions[-1]
    assert 1 == engine.status()[0].waiting
    worker.finish(first.call)
    assert third.call is await worker.next_call()
    assert second.call.id not in worker.calls
    await engine.close()
    await third.leave()


async def test_a_client_that_leaves_while_its_model_is_loaded_runs_nothing() -> None:
    """The load goes on, for the model may be wanted; the call is not sent."""
    workers = FakeWorkers(answers=[None])
    engine = engine_of(workers)
    client = Client(engine, call())
    worker = await workers.next_started()
    await client.leave()
    worker.post(Loaded("cpu", 1.0))
    await settle()

    assert [] == worker.calls
    assert "ready" == engine.status()[0].state


async def test_a_client_that_leaves_cancels_its_call() -> None:
    """The worker is asked to stop the call that runs, and runs the next one."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    first, second = Client(engine, call()), Client(engine, call())
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    await settle()
    await first.leave()

    assert first.call.id == await worker.next_cancel()
    worker.finish(first.call)
    worker.start_run(await worker.next_call())
    worker.finish(second.call)
    assert second.call.id == (await second.result()).id


async def test_a_client_that_leaves_after_its_result_cancels_nothing() -> None:
    """It has its result, and the model is ready for the next call."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    async with aclosing(engine.generate(call())) as events:
        async for event in events:
            if isinstance(event, Generation):
                break
    await settle()

    (worker,) = workers.started
    assert 1 == len(worker.received)
    assert "ready" == engine.status()[0].state
    assert isinstance(await Client(engine, call()).result(), Generation)


async def test_a_result_has_the_timings_of_server_and_worker() -> None:
    """The server adds how long the request waited and, where it did, how long the load took."""
    engine = engine_of(FakeWorkers())
    first, second = [await Client(engine, call()).result() for _ in range(2)]

    assert {"queue", "load", "run", "encode"} == set(first.timings)
    assert {"queue", "run", "encode"} == set(second.timings)
    assert (2.0, 1.0) == (first.timings["run"], first.timings["encode"])
    assert min(first.timings.values()) >= 0


async def test_progress_reaches_only_its_own_client() -> None:
    """A step of one call is an event of that call, in order, and ends with the result."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    first, second = Client(engine, call()), Client(engine, call())
    worker = await workers.next_started()
    running = await worker.next_call()
    worker.start_run(running)
    worker.post(*(StepDone(running.id, Progress("running", step, 2)) for step in (1, 2)))
    worker.finish(running)
    generation = await first.result()

    steps = [event.step for event in first.events if isinstance(event, Progress) and event.phase == "running"]
    assert [1, 2] == steps
    assert generation is first.events[-1]
    assert all(event.step == 0 for event in second.events if isinstance(event, Progress))
    await engine.close()
    await second.leave()


async def test_unload_waits_for_the_encoding() -> None:
    """A call whose outputs are being encoded gets its result before the worker is ended."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    client = Client(engine, call())
    worker = await workers.next_started()
    running = await worker.next_call()
    worker.start_run(running)
    worker.post(RunFinished(running.id))
    await settle()
    unload = asyncio.create_task(engine.unload("demo"))
    await settle()

    assert not unload.done()
    assert worker.alive
    worker.post(Finished(running.id, result(running)))
    assert isinstance(await client.result(), Generation)
    assert await asyncio.wait_for(unload, LIMIT)
    assert not worker.alive
    assert not await engine.unload("demo")
    assert not await engine.unload("nobody")


async def test_unload_waits_for_the_call_that_runs_and_no_other() -> None:
    """Calls that wait are served by the next worker."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    first, second = Client(engine, call()), Client(engine, call())
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    unload = asyncio.create_task(engine.unload("demo"))
    await settle()
    worker.finish(first.call)

    assert await asyncio.wait_for(unload, LIMIT)
    other = await workers.next_started()
    running = await other.next_call()
    assert second.call is running
    other.start_run(running)
    other.finish(running)
    assert isinstance(await second.result(), Generation)


async def test_unload_ends_a_load() -> None:
    """The request that the model is loaded for gets an error; one behind it loads the model again."""
    workers = FakeWorkers(answers=[None])
    engine = engine_of(workers)
    client, behind = Client(engine, call()), Client(engine, call())
    worker = await workers.next_started()

    assert await asyncio.wait_for(engine.unload("demo"), LIMIT)
    with pytest.raises(LoadError, match="was stopped, since the model is being unloaded"):
        await client.result()
    assert not worker.alive
    assert isinstance(await behind.result(), Generation)
    assert 2 == len(workers.started)


async def test_unload_ends_a_load_whose_process_does_not_start() -> None:
    """It does not wait until the fork server answers."""
    begun = asyncio.Event()

    async def start(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    engine = engine_of(start)
    loads = [asyncio.create_task(engine.load(model(), PIPELINE)) for _ in range(2)]
    await begun.wait()
    for load in loads:
        await asyncio.wait_for(engine.unload("demo"), LIMIT)
        with pytest.raises(LoadError, match="being unloaded"):
            await asyncio.wait_for(load, LIMIT)
        await settle()
    assert [] == engine.status()


async def test_a_status_has_the_state_of_its_model() -> None:
    """It is loading, then busy, then ready."""
    workers = FakeWorkers(runs=False, answers=[None])
    engine = engine_of(workers)
    client = Client(engine, call())
    worker = await workers.next_started()
    await settle()
    (loading,) = engine.status()
    worker.post(Loaded("cpu:0", 1.0))
    worker.start_run(await worker.next_call())
    (busy,) = engine.status()
    worker.finish(client.call)
    await client.result()
    await settle()
    (ready,) = engine.status()

    assert ["loading", "busy", "ready"] == [each.state for each in (loading, busy, ready)]
    assert [None, PIPELINE, PIPELINE] == [each.pipeline for each in (loading, busy, ready)]
    assert ["cpu", "cpu:0", "cpu:0"] == [each.device for each in (loading, busy, ready)]
    assert {worker.pid} == {each.pid for each in (loading, busy, ready)}


@pytest.mark.parametrize("state", ["loading", "running", "encoding"])
async def test_closing_leaves_no_client_waiting(state: str) -> None:
    """Whatever a model does, its clients and those behind them are sent the reason, and the worker is ended."""
    workers = FakeWorkers(runs=False, answers=[None] if state == "loading" else [])
    engine = engine_of(workers)
    clients = [Client(engine, call()) for _ in range(3)]
    worker = await workers.next_started()
    if state != "loading":
        running = await worker.next_call()
        worker.start_run(running)
        if state == "encoding":
            worker.post(RunFinished(running.id))
            worker.start_run(await worker.next_call())
    await settle()
    await asyncio.wait_for(engine.close(), LIMIT)

    for client in clients:
        with pytest.raises(ServerStoppingError, match="being stopped"):
            await client.result()
    assert [] == engine.status()
    assert not worker.alive
    with pytest.raises(ServerStoppingError):
        await Client(engine, call()).result()


async def test_a_start_deletes_the_folders_of_killed_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that runs models starts an engine, so what another one has left is deleted then."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, running = TemporaryFolder(), TemporaryFolder()
    os.close(left._descriptor)  # As the system does at the end of a process.
    engine = engine_of(FakeWorkers())
    monkeypatch.setattr(engine._processes, "start", lambda _: None)
    await engine.start()

    assert [running.path] == list(tmp_path.iterdir())
    running.remove()


async def batching_engine(workers: FakeWorkers, limit: int = 4) -> tuple[LocalEngine, FakeWorker, Client]:
    """Return an engine whose worker allows batches of a limit, and runs a first call."""
    engine = engine_of(workers, queue_size=100)
    first = Client(engine, call())
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    worker.post(BatchReport({PIPELINE: limit}, {"other": "it differs"}))
    await settle()
    return engine, worker, first


async def test_requests_that_wait_share_a_batch() -> None:
    """The next one and those that may join it, up to the limit, are sent together; each gets its own result and times."""
    workers = FakeWorkers(runs=False)
    engine, worker, first = await batching_engine(workers)
    apart = replace(call(), output=OutputFormat("jpeg"))
    clients = [Client(engine, each) for each in (call(), call(), apart, call(), call(), call())]
    await settle()
    worker.finish(first.call)
    await settle()

    together = [clients[index].call.id for index in (0, 1, 3, 4)]
    assert isinstance(worker.received[-1], RunBatch)
    assert together == [each.id for each in worker.received[-1].calls]
    for each in worker.received[-1].calls:
        assert isinstance(worker.received[-1], RunBatch)
        worker.start_run(each)
        worker.finish(each)
        await settle()
    assert isinstance(worker.received[-1], RunCall)
    assert apart.id == worker.received[-1].call.id
    assert together[0] == (await clients[0].result()).id
    assert (await clients[4].result()).timings["queue"] >= 0
    await engine.close()
    await asyncio.gather(*(client.task for client in clients), return_exceptions=True)


async def test_a_member_of_a_batch_is_cancelled_alone() -> None:
    """The worker is sent its id; the others go on."""
    workers = FakeWorkers(runs=False)
    engine, worker, first = await batching_engine(workers)
    clients = [Client(engine, call()) for _ in range(2)]
    await settle()
    worker.finish(first.call)
    await settle()
    leaving = clients[0]
    await leaving.leave()
    assert leaving.call.id == await worker.next_cancel()
    worker.post(Failed(leaving.call.id, GenerationCancelledError("The request was cancelled.")))
    worker.finish(clients[1].call)

    assert clients[1].call.id == (await clients[1].result()).id
    await settle()
    assert "ready" == engine.status()[0].state
    await engine.close()


async def test_nothing_shares_a_batch_that_must_not() -> None:
    """Neither where the worker has learned nothing, nor where a request or a model excludes it."""
    workers = FakeWorkers(runs=False)
    engine, worker, first = await batching_engine(workers)
    calls = [call(), replace(call(), deterministic=True), call(), replace(call(), runs=call().runs * 4)]
    clients = [Client(engine, each) for each in calls]
    await settle()
    worker.finish(first.call)
    await settle()

    assert isinstance(worker.received[-1], RunBatch)
    assert [calls[0].id, calls[2].id] == [each.id for each in worker.received[-1].calls]
    await engine.close()
    await asyncio.gather(*(client.task for client in clients), return_exceptions=True)


async def test_configurations_of_the_same_weights_share_a_batch() -> None:
    """Where they differ only in what is in each call or for clients, such as a name, a description or defaults."""
    workers = FakeWorkers(runs=False)
    engine, worker, first = await batching_engine(workers)
    changes: list[dict[str, object]] = [
        {},
        {"name": "other", "description": "It is the same.", "defaults": {"num_inference_steps": 4}, "seed": 3},
        {"name": "third", "adapters": [{"lora": "x"}]},
    ]
    fields = call().model.model_dump(exclude_unset=True)
    calls = [replace(call(), model=ModelConfig.model_validate({**fields, **each})) for each in changes]
    clients = [Client(engine, each) for each in calls]
    await settle()
    worker.finish(first.call)
    await settle()

    assert isinstance(worker.received[-1], RunBatch)
    assert [calls[0].id, calls[1].id] == [each.id for each in worker.received[-1].calls]
    assert ["demo", "other"] == [each.model.name for each in worker.received[-1].calls]
    await engine.close()
    await asyncio.gather(*(client.task for client in clients), return_exceptions=True)


async def test_no_request_is_passed_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has waited for the age limit is passed by no member of a batch."""
    monkeypatch.setattr(waiting_list, "MAX_PASSED_AGE", 0.0)
    workers = FakeWorkers(runs=False)
    engine, worker, first = await batching_engine(workers)
    clients = [Client(engine, each) for each in (call(), replace(call(), partial_images=1), call())]
    await settle()
    worker.finish(first.call)
    await settle()

    assert isinstance(worker.received[-1], RunCall)
    await engine.close()
    await asyncio.gather(*(client.task for client in clients), return_exceptions=True)


async def test_calls_of_a_batch_run_again_after_the_end_of_their_worker() -> None:
    """Each is sent to the next worker, which has learned nothing yet, so that it gets them one by one."""
    workers = FakeWorkers(runs=False)
    engine, worker, first = await batching_engine(workers)
    clients = [Client(engine, call()) for _ in range(2)]
    await settle()
    worker.finish(first.call)
    await settle()
    worker.exit(WorkerDiedError("It was killed."))
    other = await workers.next_started()
    for _ in clients:
        running = await other.next_call()
        other.start_run(running)
        other.finish(running)

    assert {client.call.id for client in clients} == {(await client.result()).id for client in clients}
    assert all(isinstance(message, RunCall) for message in other.received)


FAILURES = {
    "killed": WorkerDiedError("It was killed."),
    "hung": WorkerDiedError("It gave no sign of life.", hung=True),
    "device": DeviceError("The device failed."),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_the_members_of_a_batch_that_ends_its_worker_run_singly(failure: str) -> None:
    """Those that had started and those that had not, once each; the one that fails again fails alone."""
    error = FAILURES[failure]
    workers = FakeWorkers(runs=False)
    engine, worker, first = await batching_engine(workers)
    clients = [Client(engine, call()) for _ in range(4)]
    await settle()
    worker.finish(first.call)
    running = [await worker.next_call() for _ in clients]
    preview = StepDone(running[0].id, Progress("running", 1, 2, preview=Artifact("image", "image/png", b"")))
    worker.start_run(running[0], 2)
    worker.start_run(running[1], 2)
    worker.post(preview)
    await settle()
    worker.exit(error)
    other = await workers.next_started()
    other.post(BatchReport({PIPELINE: 4}))
    for index in range(3):
        following = await other.next_call()
        assert following.deterministic
        other.start_run(following)
        if index == 0:
            other.post(preview)
        other.finish(following)
    last = await other.next_call()
    other.start_run(last)
    await settle()
    if failure == "device":
        other.post(Failed(last.id, error))
    other.exit(error)
    if failure == "killed":  # It has been run by two workers.
        await settle()

    done = {each.call.id: each for each in clients}
    failed = done.pop(last.id)
    with pytest.raises(type(error), match=error.message):
        await failed.result()
    assert {*done} == {(await each.result()).id for each in done.values()}
    assert all(isinstance(message, RunCall) for message in other.received)
    # The caller gets a part of its result once.
    (previewed,) = (each for each in clients if each.call.id == running[0].id)
    assert 1 == sum(isinstance(each, Progress) and each.preview is not None for each in previewed.events)
    await engine.close()


async def test_the_call_that_ran_alone_in_a_batch_is_the_cause() -> None:
    """One whose run shared nothing when its worker hung gets the error; those behind it run."""
    workers = FakeWorkers(runs=False)
    engine, worker, first = await batching_engine(workers)
    clients = [Client(engine, call()) for _ in range(2)]
    await settle()
    worker.finish(first.call)
    worker.start_run(await worker.next_call())
    await settle()
    worker.exit(FAILURES["hung"])
    with pytest.raises(WorkerDiedError, match="no sign of life"):
        await clients[0].result()
    other = await workers.next_started()
    following = await other.next_call()
    other.start_run(following)
    other.finish(following)

    assert clients[1].call.id == (await clients[1].result()).id
    await engine.close()


@pytest.mark.parametrize(("members", "ceiling"), [(4, 2), (2, 1), (0, 1)])
async def test_the_size_of_a_batch_that_ended_its_worker_is_known_to_the_next(members: int, ceiling: int) -> None:
    """The runs of a request share the next batch with half as many; a probe that ended it lets them run singly."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    many = replace(call(), runs=call().runs * 4)
    client = Client(engine, many)
    worker = await workers.next_started()
    running = await worker.next_call()
    assert not running.deterministic
    assert {} == worker.start.ceilings
    worker.post(BatchReport({}, {}, {"other": 3}))
    if members:
        worker.start_run(running, members)
    await settle()
    worker.exit(FAILURES["killed"])
    other = await workers.next_started()
    again = await other.next_call()
    assert again.deterministic
    assert {"other": 3, PIPELINE: ceiling} == other.start.ceilings
    other.start_run(again)
    other.finish(again)
    assert many.id == (await client.result()).id

    # Also after the model was unloaded.
    await engine.unload("demo")
    later = Client(engine, call())
    third = await workers.next_started()
    assert {"other": 3, PIPELINE: ceiling} == third.start.ceilings
    await engine.close()
    await asyncio.gather(later.task, return_exceptions=True)


async def test_the_status_states_what_is_known_of_batches() -> None:
    """The learned sizes and the reasons are next to the performance settings."""
    workers = FakeWorkers(runs=False)
    engine, _, first = await batching_engine(workers)
    performance = engine.status()[0].performance

    assert performance is not None
    assert {"batching": f"up to 4 for {PIPELINE}"} == performance.applied
    assert {"batching": "other: it differs"} == performance.skipped
    await engine.close()
    await asyncio.gather(first.task, return_exceptions=True)
