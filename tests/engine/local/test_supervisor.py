"""The workers of a model: how they are started and replaced, and whom their end concerns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from fake_worker import (
    LIMIT,
    PIPELINE,
    Client,
    FakeProcesses,
    FakeWorker,
    FakeWorkers,
    call,
    engine_of,
    model,
    result,
    settle,
)
from octabox.engine.messages import (
    BadFork,
    Failed,
    Finished,
    Loaded,
    LoadFailed,
    Memory,
    RunCall,
    RunFinished,
    StepDone,
)
from octabox.errors import (
    DeviceError,
    GenerationError,
    IncompatibleWeightsError,
    InvalidParameterError,
    LoadError,
    OctaboxError,
    WorkerDiedError,
)
from octabox.service.cascades.calls import naming_stage
from octabox.types import Artifact, Generation, Progress

KILLED = WorkerDiedError("The worker process of model 'demo' was ended by signal SIGKILL.", model="demo")


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """Return what the engine logs at WARNING or above."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler, logger = Keep(logging.WARNING), logging.getLogger("octabox.engine")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


async def test_a_worker_is_started_once() -> None:
    """The first call loads the model with its class, its device and the options; the next ones find it loaded."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    for _ in range(3):
        await Client(engine, call()).result()

    (worker,) = workers.started
    assert (model(), PIPELINE) == (worker.start.model, worker.start.pipeline)


async def test_a_load_that_fails_leaves_no_worker(logged: list[logging.LogRecord]) -> None:
    """Its client is sent the error, the worker is ended, and the next request starts another one."""
    workers = FakeWorkers(answers=[LoadFailed(IncompatibleWeightsError("The weights do not fit."))])
    engine = engine_of(workers)
    with pytest.raises(IncompatibleWeightsError, match="do not fit"):
        await Client(engine, call()).result()

    assert [] == engine.status()
    assert not workers.started[0].alive
    assert ["demo: The weights do not fit."] == [record.getMessage() for record in logged]
    assert isinstance(await Client(engine, call()).result(), Generation)


async def test_a_load_has_a_limit() -> None:
    """A worker that does not answer in time is ended; the fork server, which has started it, is not."""
    workers, processes = FakeWorkers(answers=[None]), FakeProcesses(spawns=False)
    engine = engine_of(workers, processes=processes, load_timeout=0.01)
    with pytest.raises(LoadError, match=r"not loaded within 0\.01 seconds"):
        await Client(engine, call()).result()

    assert [] == engine.status()
    assert not workers.started[0].alive
    assert 0 == processes.ended


async def test_a_start_has_a_limit() -> None:
    """Where no process comes to be, it is the fork server that does not answer, and that is ended."""

    async def start(*_: object) -> FakeWorker:
        await asyncio.Event().wait()
        raise AssertionError

    processes = FakeProcesses(spawns=False)
    engine = engine_of(start, processes=processes, load_timeout=0.01)
    with pytest.raises(LoadError, match="not loaded within"):
        await Client(engine, call()).result()

    assert 1 == processes.ended
    assert [] == engine.status()


async def test_a_worker_that_ends_before_its_load_is_an_error() -> None:
    """Nobody waits for the limit of the load."""
    engine = engine_of(FakeWorkers(answers=[KILLED]))

    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        await Client(engine, call()).result()
    assert [] == engine.status()
    assert isinstance(await Client(engine, call()).result(), Generation)


async def test_an_end_that_comes_before_the_start_returns_is_not_lost() -> None:
    """A process may end so soon that its end is known before it is itself."""
    workers = FakeWorkers()

    async def start(*arguments: Any) -> FakeWorker:
        worker = await FakeWorkers(answers=[KILLED]).start(*arguments)
        await settle()
        return worker if not workers.started else await workers.start(*arguments)

    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        await Client(engine_of(start), call()).result()


async def test_an_idle_worker_that_ends_is_replaced() -> None:
    """Nobody but the log notices."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    await Client(engine, call()).result()
    workers.started[0].exit(KILLED)
    await settle()

    assert [] == engine.status()
    assert isinstance(await Client(engine, call()).result(), Generation)
    assert 2 == len(workers.started)


async def test_the_calls_of_a_worker_that_ends_run_again(logged: list[logging.LogRecord]) -> None:
    """The call being encoded, the one that runs and the one behind them are served by a new worker, in their order."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    encoding, running, behind = (Client(engine, call()) for _ in range(3))
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    worker.post(RunFinished(encoding.call.id))
    worker.start_run(await worker.next_call())
    await settle()
    worker.exit(KILLED)
    other = await workers.next_started()
    for client in (encoding, running, behind):
        assert client.call is await other.next_call()
        other.start_run(client.call)
        other.finish(client.call)

    warning = f"{KILLED.message} The request was run again."
    warnings = [(await client.result()).warnings for client in (encoding, running, behind)]
    assert [(warning,), (warning,), ()] == warnings
    assert [str(KILLED)] == [record.getMessage() for record in logged]


@pytest.mark.parametrize("reason", ["hung", "previewed", "second"])
async def test_a_call_that_must_not_run_again_gets_the_error(reason: str) -> None:
    """One that a worker has hung in, one whose caller has a part of the result, and one that has ended two workers."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    client, behind = Client(engine, call()), Client(engine, call())
    error = WorkerDiedError("It gave no sign of life.", hung=reason == "hung", model="demo")
    for _ in range(2 if reason == "second" else 1):
        worker = await workers.next_started()
        worker.start_run(await worker.next_call())
        if reason == "previewed":
            preview = Artifact("image", "image/png", b"")
            worker.post(StepDone(client.call.id, Progress("running", 1, 2, preview=preview)))
        await settle()
        worker.exit(error)

    with pytest.raises(WorkerDiedError, match="no sign of life"):
        await client.result()
    other = await workers.next_started()
    assert behind.call is await other.next_call()
    other.start_run(behind.call)
    other.finish(behind.call)
    await behind.result()


async def test_a_call_that_no_worker_has_started_is_sent_again() -> None:
    """Where the worker ends between the message and the start of the call, the next worker gets it."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    client = Client(engine, call())
    worker = await workers.next_started()
    await worker.next_call()
    worker.exit(KILLED)
    other = await workers.next_started()
    other.start_run(await other.next_call())
    other.finish(client.call)

    assert isinstance(await client.result(), Generation)


async def test_a_call_that_ends_its_workers_is_not_sent_for_ever() -> None:
    """After the second worker that ends before the start of the call, the request fails; the next one is served."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    client, behind = Client(engine, call()), Client(engine, call())
    for _ in range(2):
        worker = await workers.next_started()
        await worker.next_call()
        worker.exit(KILLED)

    with pytest.raises(WorkerDiedError, match="2 workers of model 'demo' ended before they started this request"):
        await client.result()
    other = await workers.next_started()
    other.start_run(await other.next_call())
    other.finish(behind.call)
    assert isinstance(await behind.result(), Generation)


async def test_a_client_that_leaves_as_its_worker_ends_holds_up_nobody() -> None:
    """Its call is sent to no other worker, and unload does not wait for it."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    client = Client(engine, call())
    worker = await workers.next_started()
    await worker.next_call()
    await client.leave()
    worker.exit(KILLED)
    await settle()

    assert not await asyncio.wait_for(engine.unload("demo"), LIMIT)
    assert 1 == len(workers.started)


async def test_an_encoding_that_fails_ends_one_call() -> None:
    """The call that has just been sent is not taken for the one that failed: it is sent once."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    encoding, running, behind = (Client(engine, call()) for _ in range(3))
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    worker.post(RunFinished(encoding.call.id))
    await worker.next_call()
    worker.post(Failed(encoding.call.id, GenerationError("The disk is full.")))
    with pytest.raises(GenerationError, match="disk is full"):
        await encoding.result()
    await settle()

    assert [encoding.call.id, running.call.id] == worker.calls
    worker.start_run(running.call)
    worker.finish(running.call)
    assert isinstance(await running.result(), Generation)
    assert behind.call is await worker.next_call()
    await engine.close()
    await behind.leave()


async def test_a_failed_call_leaves_the_worker_to_the_next() -> None:
    """The error of a call is its client's alone."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    first, second = Client(engine, call()), Client(engine, call())
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    worker.post(Failed(first.call.id, GenerationError("The image is black.")))
    with pytest.raises(GenerationError, match="black"):
        await first.result()
    worker.start_run(await worker.next_call())
    worker.finish(second.call)

    assert isinstance(await second.result(), Generation)
    assert 1 == len(workers.started)


async def test_any_exception_in_the_server_ends_one_request(
    monkeypatch: pytest.MonkeyPatch, logged: list[logging.LogRecord]
) -> None:
    """An exception of another class becomes an error of ours, with a traceback in the log; the next request is served."""
    engine = engine_of(FakeWorkers())
    await Client(engine, call()).result()
    with monkeypatch.context() as patch:
        patch.setattr(FakeWorker, "send", raising(ZeroDivisionError("oops")))
        with pytest.raises(GenerationError, match="failed in the server"):
            await Client(engine, call()).result()

    assert isinstance(await Client(engine, call()).result(), Generation)
    assert await asyncio.wait_for(engine.unload("demo"), LIMIT)
    assert any(record.exc_info and record.levelno == logging.ERROR for record in logged)


async def test_a_call_that_cannot_be_sent_ends_alone(
    monkeypatch: pytest.MonkeyPatch, logged: list[logging.LogRecord]
) -> None:
    """Those behind it, status and unload notice nothing; a wrong request is not logged."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    bad, behind = Client(engine, call()), Client(engine, call())
    send = FakeWorker.send

    async def refuse(worker: FakeWorker, message: Any) -> None:
        if isinstance(message, RunCall) and message.call is bad.call:
            raise InvalidParameterError("`width` is nested too deeply.")
        await send(worker, message)

    monkeypatch.setattr(FakeWorker, "send", refuse)
    with pytest.raises(InvalidParameterError):
        await bad.result()

    assert isinstance(await behind.result(), Generation)
    assert "ready" == engine.status()[0].state
    assert await asyncio.wait_for(engine.unload("demo"), LIMIT)
    assert [] == logged


async def test_another_configuration_waits_for_the_encoding() -> None:
    """A call with a changed configuration gets a worker that has loaded it, and costs no other call its result."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    first = Client(engine, call())
    changed = Client(engine, call(dtype="bfloat16"))
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    worker.post(RunFinished(first.call.id))
    await settle()

    assert [worker] == workers.started
    assert worker.alive
    worker.post(Finished(first.call.id, result(first.call)))
    assert isinstance(await first.result(), Generation)
    other = await workers.next_started()
    other.start_run(await other.next_call())
    other.finish(changed.call)
    assert isinstance(await changed.result(), Generation)
    assert not worker.alive
    assert "bfloat16" == other.start.model.dtype


async def test_messages_of_an_earlier_worker_are_ignored() -> None:
    """What a worker that was replaced still sends changes nothing of the next one."""
    workers = FakeWorkers()
    engine = engine_of(workers)
    await Client(engine, call()).result()
    await engine.unload("demo")
    await Client(engine, call()).result()
    old, new = workers.started
    old.post(Memory({"host": 1}), KILLED)
    new.post(Memory({"host": 2}, {"cuda:0": 3}))
    await settle()

    (status,) = engine.status()
    assert (new.pid, {"host": 2}, {"cuda:0": 3}) == (status.pid, status.memory, status.allocated)


async def test_a_forked_worker_that_cannot_use_the_device_is_replaced_by_a_spawned_one() -> None:
    """Later workers are spawned from the start."""
    workers, processes = FakeWorkers(answers=[BadFork(("cuda",))]), FakeProcesses(spawns=False)
    engine = engine_of(workers, processes=processes)

    assert isinstance(await Client(engine, call()).result(), Generation)
    assert processes.spawns
    assert [False, True] == [worker.alive for worker in workers.started]


async def test_a_spawned_worker_that_cannot_use_the_device_is_an_error() -> None:
    """No third one is tried."""
    workers = FakeWorkers(answers=[BadFork(("cuda",)), BadFork(("cuda",))])
    engine = engine_of(workers)

    with pytest.raises(LoadError, match="cannot use cuda"):
        await Client(engine, call()).result()
    assert 2 == len(workers.started)
    assert [] == engine.status()


async def test_a_failed_device_is_logged_once(logged: list[logging.LogRecord]) -> None:
    """As an error, with the call that it failed in; the end of the worker adds nothing."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    client = Client(engine, call())
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    worker.post(Failed(client.call.id, DeviceError("The device is lost.")))
    worker.exit(DeviceError("The device of model 'demo' failed."))
    with pytest.raises(DeviceError, match="lost"):
        await client.result()
    await settle()

    assert [("demo: The device is lost.", logging.ERROR)] == [(each.getMessage(), each.levelno) for each in logged]
    assert [] == engine.status()


@pytest.mark.parametrize("closed", [False, True])
async def test_requests_that_end_together_have_an_error_each(closed: bool) -> None:
    """What is added to one of them, such as the stage of a cascade, is not in the others."""
    workers = FakeWorkers(runs=False)
    engine = engine_of(workers)
    clients = [Client(engine, call()) for _ in range(2)]
    worker = await workers.next_started()
    worker.start_run(await worker.next_call())
    worker.post(RunFinished(clients[0].call.id))
    worker.start_run(await worker.next_call())
    await settle()
    if closed:
        await engine.close()
    else:
        worker.exit(DeviceError("The device failed."))
    first, second = await asyncio.gather(*(each.task for each in clients), return_exceptions=True)
    assert isinstance(first, OctaboxError)
    assert isinstance(second, OctaboxError)
    message = second.message
    with pytest.raises(type(first)), naming_stage("cascade", 2):
        raise first

    assert f"Stage 2 of 'cascade': {message}" == first.message
    assert message == second.message
    await engine.close()


async def test_a_load_tells_what_became_of_it() -> None:
    """A status has the time of the load and the device that the worker reports."""
    engine = engine_of(FakeWorkers(answers=[Loaded("cuda:1", 0.5)]))
    status = await asyncio.wait_for(engine.load(model(), PIPELINE), LIMIT)

    assert ("ready", PIPELINE, "cuda:1") == (status.state, status.pipeline, status.device)
    assert status.since
    assert status.performance is not None


def raising(error: Exception) -> Any:
    """Return a method that raises an error."""

    async def method(*_: object) -> None:
        raise error

    return method
