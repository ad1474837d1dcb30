"""What goes wrong in the server's side of a queue ends one request at most: nobody waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from multiprocessing import forkserver
from typing import Any

import pytest

from embedded import Calls, finish
from octabox.config.model import ModelConfig
from octabox.engine.local import worker_process
from octabox.engine.local.engine import LocalEngine
from octabox.engine.local.forkserver import end_fork_server
from octabox.engine.local.queued_request import log_failure
from octabox.engine.local.worker_process import WorkerProcess
from octabox.engine.messages import CancelCall, RunCall, WorkerOptions
from octabox.errors import (
    DeviceError,
    GenerationCancelledError,
    GenerationError,
    InvalidParameterError,
    LoadError,
    OutOfMemoryError,
    WorkerDiedError,
)
from octabox.types import Generation

#: Seconds in which everything here must have come to an end, one way or the other; far more than it takes on an idle machine.
LIMIT = 250


def nested(levels: int) -> dict[str, Any]:
    """Return an object of so many levels."""
    deep: dict[str, Any] = {}
    for _ in range(levels):
        deep = {"a": deep}
    return deep


def pid_of(engine: LocalEngine) -> int:
    """Return the process of the embedded model."""
    (pid,) = [status.pid for status in engine.status()]
    assert pid is not None
    return pid


@pytest.fixture
async def own_engine(embedded: ModelConfig) -> AsyncIterator[LocalEngine]:
    """Return an engine whose worker may be harmed."""
    engine = LocalEngine(WorkerOptions(threads=1))
    await engine.start([embedded])
    await engine.load(embedded, "StableDiffusionPipeline")  # The first one waits for the fork server's imports.
    yield engine
    await asyncio.wait_for(engine.close(), LIMIT)


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


@pytest.mark.parametrize(
    ("value", "words"),
    [(nested(5000), "nested too deeply"), (lambda: None, "cannot be sent")],
    ids=["deep", "function"],
)
async def test_a_call_that_cannot_be_sent_ends_alone(
    own_engine: LocalEngine, calls: Calls, value: object, words: str
) -> None:
    """It is a typed error that names the parameter; those behind it, status and unload notice nothing."""
    bad = asyncio.create_task(finish(own_engine, calls(cross_attention_kwargs=value)))
    behind = asyncio.create_task(finish(own_engine, calls()))
    with pytest.raises(InvalidParameterError, match=words) as caught:
        await asyncio.wait_for(bad, LIMIT)

    assert "cross_attention_kwargs" == caught.value.parameter
    assert isinstance(await asyncio.wait_for(behind, LIMIT), Generation)
    assert "ready" == own_engine.status()[0].state
    assert await asyncio.wait_for(own_engine.unload("demo"), LIMIT)


async def test_any_exception_in_the_server_ends_one_request(
    own_engine: LocalEngine, calls: Calls, monkeypatch: pytest.MonkeyPatch, logged: list[logging.LogRecord]
) -> None:
    """What is none of our errors becomes one, with a traceback in the log; the next request is served, and unload returns."""
    await finish(own_engine, calls())
    send = WorkerProcess.send

    async def broken(worker: WorkerProcess, message: Any) -> None:
        if isinstance(message, RunCall):
            raise ZeroDivisionError("oops")
        await send(worker, message)

    monkeypatch.setattr(WorkerProcess, "send", broken)
    with pytest.raises(GenerationError, match="ZeroDivisionError: oops"):
        await asyncio.wait_for(finish(own_engine, calls()), LIMIT)
    monkeypatch.undo()

    assert isinstance(await asyncio.wait_for(finish(own_engine, calls()), LIMIT), Generation)
    assert await asyncio.wait_for(own_engine.unload("demo"), LIMIT)
    assert any(record.exc_info and record.levelno == logging.ERROR for record in logged)


async def test_an_answer_that_cannot_be_read_ends_the_worker(
    own_engine: LocalEngine, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that the server cannot read, such as an error of a class that it does not have, leaves nobody waiting."""
    await finish(own_engine, calls())
    old = pid_of(own_engine)
    connection = own_engine._queues["demo"]._worker._connection  # type: ignore[union-attr]

    def unreadable() -> None:
        raise ModuleNotFoundError("No module named 'plugin'")

    monkeypatch.setattr(type(connection), "recv", lambda _: unreadable())
    with pytest.raises(WorkerDiedError):
        await asyncio.wait_for(finish(own_engine, calls()), LIMIT)
    monkeypatch.undo()

    assert isinstance(await asyncio.wait_for(finish(own_engine, calls()), LIMIT), Generation)
    assert old != pid_of(own_engine)


@pytest.mark.parametrize("state", ["idle", "busy"])
async def test_a_worker_without_a_sign_of_life_is_ended(
    own_engine: LocalEngine,
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    logged: list[logging.LogRecord],
) -> None:
    """A process that was stopped does nothing any more; unload returns all the same, and what ran on it fails."""
    monkeypatch.setattr(worker_process, "SHUTDOWN_TIMEOUT", 2.0)
    monkeypatch.setattr(worker_process, "SILENCE", 2.0)
    await finish(own_engine, calls())
    pid = pid_of(own_engine)
    running = asyncio.create_task(finish(own_engine, calls(num_inference_steps=500))) if state == "busy" else None
    await asyncio.sleep(0.5)
    os.kill(pid, signal.SIGSTOP)

    assert await asyncio.wait_for(own_engine.unload("demo"), LIMIT)
    assert not alive(pid)
    if running:
        with pytest.raises(WorkerDiedError, match="no sign of life"):
            await asyncio.wait_for(running, LIMIT)
        assert any("ended by force" in record.getMessage() for record in logged)
    assert isinstance(await asyncio.wait_for(finish(own_engine, calls()), LIMIT), Generation)


async def test_a_busy_worker_that_answers_is_waited_for(
    own_engine: LocalEngine, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unload waits for the call that runs, however long that takes, as long as the process answers."""
    monkeypatch.setattr(worker_process, "SILENCE", 2.0)
    await finish(own_engine, calls())
    running = asyncio.create_task(finish(own_engine, calls(num_inference_steps=60)))
    await asyncio.sleep(0.3)

    assert await asyncio.wait_for(own_engine.unload("demo"), LIMIT)
    assert isinstance(await running, Generation)


# It ends the fork server that all tests of a process share, some of which may be waiting for it.
@pytest.mark.slow
async def test_a_worker_outlives_its_fork_server(own_engine: LocalEngine, calls: Calls) -> None:
    """It serves on, and ends when it is told to, by our own signal; the next one gets a new fork server."""
    await finish(own_engine, calls())
    pid = pid_of(own_engine)
    end_fork_server()
    await asyncio.sleep(0.5)

    assert isinstance(await asyncio.wait_for(finish(own_engine, calls()), LIMIT), Generation)
    assert pid == pid_of(own_engine)
    assert await asyncio.wait_for(own_engine.unload("demo"), LIMIT)
    assert not alive(pid)
    assert isinstance(await asyncio.wait_for(finish(own_engine, calls()), LIMIT), Generation)


async def test_a_fork_server_that_does_not_answer_is_ended(embedded: ModelConfig) -> None:
    """A load has its limit even where no process comes to be; the next load gets a new fork server."""
    engine = LocalEngine(WorkerOptions(threads=1), load_timeout=3)
    await engine.start([embedded])
    fork_server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(fork_server, signal.SIGSTOP)
    try:
        with pytest.raises(LoadError, match="within 3 seconds"):
            await asyncio.wait_for(engine.load(embedded, "StableDiffusionPipeline"), LIMIT)
        await asyncio.wait_for(ended(fork_server), LIMIT)
        engine._queues["demo"]._load_timeout = engine._devices._timeout = LIMIT
        assert "ready" == (await asyncio.wait_for(engine.load(embedded, "StableDiffusionPipeline"), LIMIT)).state
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(fork_server, signal.SIGCONT)
        await asyncio.wait_for(engine.close(), LIMIT)


async def test_a_change_of_configuration_loses_no_result(
    own_engine: LocalEngine, calls: Calls, embedded: ModelConfig
) -> None:
    """A call whose outputs are still being encoded when another configuration is to be loaded gets its result."""
    changed = Calls(embedded.model_copy(update={"dtype": "bfloat16"}))
    first = asyncio.create_task(finish(own_engine, calls(seeds=tuple(range(6)), num_inference_steps=1)))
    await asyncio.sleep(0)
    other = asyncio.create_task(finish(own_engine, changed()))

    assert 6 == len((await asyncio.wait_for(first, LIMIT)).artifacts)
    assert isinstance(await asyncio.wait_for(other, LIMIT), Generation)


async def test_closing_while_a_model_is_loaded_leaves_nobody_waiting(embedded: ModelConfig) -> None:
    """Who waits for a load, and who waits behind it, is told that the server stops."""
    engine = LocalEngine(WorkerOptions(threads=1))
    await engine.start([embedded])
    load = asyncio.create_task(engine.load(embedded, "StableDiffusionPipeline"))
    call = asyncio.create_task(finish(engine, Calls(embedded)()))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await asyncio.wait_for(engine.close(), LIMIT)

    for task in (load, call):
        with pytest.raises(GenerationCancelledError):
            await asyncio.wait_for(task, LIMIT)
    assert time.monotonic() - began < 30
    assert [] == engine.status()


async def test_a_call_that_is_given_up_as_its_worker_ends_is_forgotten(
    own_engine: LocalEngine, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unload does not wait for a call that no worker has taken up and nobody waits for."""
    await finish(own_engine, calls())
    send = WorkerProcess.send

    async def lost(worker: WorkerProcess, message: Any) -> None:
        if isinstance(message, RunCall):
            os.kill(worker.pid or 0, signal.SIGSTOP)
        if not isinstance(message, CancelCall):
            await send(worker, message)

    monkeypatch.setattr(WorkerProcess, "send", lost)
    call = asyncio.create_task(finish(own_engine, calls()))
    await asyncio.sleep(0.5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    os.kill(pid_of(own_engine), signal.SIGKILL)
    monkeypatch.undo()

    await asyncio.wait_for(own_engine.unload("demo"), LIMIT)
    assert 0 == len(own_engine._queues["demo"]._sent)


async def test_failures_are_logged(embedded: ModelConfig, logged: list[logging.LogRecord]) -> None:
    """A load that fails is a line at WARNING; a request that was wrong is none."""
    engine = LocalEngine(WorkerOptions(threads=1))
    await engine.start([embedded])
    broken = embedded.model_copy(update={"name": "broken", "model": "/nowhere/at/all"})
    with pytest.raises(LoadError):
        await asyncio.wait_for(engine.load(broken, "StableDiffusionPipeline"), LIMIT)
    with pytest.raises(InvalidParameterError):
        await asyncio.wait_for(finish(engine, Calls(embedded)(width=1)), LIMIT)
    await engine.close()

    assert ["broken"] == [record.getMessage().partition(":")[0] for record in logged]


def test_a_failed_device_is_logged_as_an_error(logged: list[logging.LogRecord]) -> None:
    """Of failures, that of a device is the operator's to see first."""
    log_failure(DeviceError("x"), "demo")
    log_failure(OutOfMemoryError("x"), "demo")

    assert [logging.ERROR, logging.WARNING] == [record.levelno for record in logged]


async def ended(pid: int) -> None:
    """Wait until a process has ended: a signal that cannot be caught needs a moment where the machine is busy."""
    while alive(pid):  # noqa: ASYNC110 (nobody sets an event when a process ends)
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not waited for does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
