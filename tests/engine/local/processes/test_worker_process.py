"""The pipe to a worker process and its end, with small processes in the place of workers."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

import small_workers
from fake_worker import LIMIT, PIPELINE, call
from octabox.config.sections.parallel import ParallelConfig
from octabox.engine.exit_codes import DEVICE_BROKEN, GANG_BROKEN
from octabox.engine.local.processes import gang_start, worker_process
from octabox.engine.local.processes.channel import pack_message
from octabox.engine.local.processes.starting import in_daemon_thread, start_process
from octabox.engine.local.processes.worker_process import WorkerProcess, exit_error
from octabox.engine.messages import (
    CancelCall,
    RunCall,
    RunStarted,
    Start,
    ToWorker,
    WorkerOptions,
)
from octabox.errors import DeviceError, WorkerDiedError


class Pipe:
    """A small process, and the messages that the server receives from it."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Any] = asyncio.Queue()

    async def start(self, function: Callable[[Connection], None], **timeouts: float) -> WorkerProcess:
        """Start a process that runs a function, with these settings."""
        context = multiprocessing.get_context("spawn")
        process, connection = await in_daemon_thread(lambda: start_process(context, function))
        options = WorkerOptions(**timeouts)  # type: ignore[arg-type]
        return WorkerProcess("demo", process, connection, self.messages.put_nowait, options)

    async def next(self) -> Any:
        """Wait for the next message."""
        return await asyncio.wait_for(self.messages.get(), LIMIT)


async def test_a_worker_that_is_stopped_has_ended() -> None:
    """Messages go both ways until then; later ones are lost without an error."""
    pipe = Pipe()
    worker = await pipe.start(small_workers.echo)
    await worker.send(CancelCall("one"))
    assert RunStarted("one") == await pipe.next()
    assert worker.alive

    await worker.stop()
    assert not worker.alive
    assert not small_workers.is_running(worker.pid)
    await worker.send(CancelCall("two"))


async def test_no_message_overtakes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker drops the cancellation of a call that it does not know yet: that of a call with images waits for it."""
    packing, goes_on = asyncio.Event(), asyncio.Event()

    async def slowly(message: ToWorker) -> Any:
        if isinstance(message, RunCall):
            packing.set()
            await goes_on.wait()
        return await pack_message(message)

    monkeypatch.setattr(worker_process, "pack_message", slowly)
    pipe, begun = Pipe(), call()
    worker = await pipe.start(small_workers.repeat)
    running = asyncio.create_task(worker.send(RunCall(begun)))
    await packing.wait()
    leaving = asyncio.create_task(worker.send(CancelCall("cancelled")))
    await asyncio.sleep(0)
    goes_on.set()
    await asyncio.gather(running, leaving)

    assert [begun.id, "cancelled"] == [(await pipe.next()).id for _ in range(2)]
    await worker.stop()


async def test_the_end_comes_after_all_messages() -> None:
    """What a process sent before it ended is read."""
    pipe = Pipe()
    await pipe.start(small_workers.report)

    assert ["one", "two"] == [(await pipe.next()).id for _ in range(2)]
    assert "ended with exit code 0" in str(await pipe.next())


async def test_a_killed_worker_is_an_error() -> None:
    """It names the signal."""
    pipe = Pipe()
    worker = await pipe.start(small_workers.wait)
    os.kill(worker.pid or 0, signal.SIGKILL)
    error = await pipe.next()

    assert isinstance(error, WorkerDiedError)
    assert "SIGKILL" in error.message
    assert not worker.alive


async def test_a_message_that_cannot_be_read_ends_the_worker() -> None:
    """A request may wait for it, so that it is an error instead."""
    pipe = Pipe()
    worker = await pipe.start(small_workers.garble)

    assert isinstance(await pipe.next(), WorkerDiedError)
    assert not small_workers.is_running(worker.pid)


async def test_a_worker_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time after it was asked to."""
    monkeypatch.setattr(worker_process, "SHUTDOWN_TIMEOUT", 0.1)
    pipe = Pipe()
    worker = await pipe.start(small_workers.ignore)
    await pipe.next()
    await worker.stop()
    await asyncio.sleep(0)

    assert "did not end when it was asked to" in str(await pipe.next())
    assert not small_workers.is_running(worker.pid)


async def test_a_worker_without_a_sign_of_life_is_killed() -> None:
    """A stopped process answers no ping; one that answers is left alone."""
    pipe = Pipe()
    worker = await pipe.start(small_workers.echo, silence_timeout=1)
    await worker.send(CancelCall("one"))
    await pipe.next()
    await asyncio.sleep(1.5)
    assert worker.alive

    os.kill(worker.pid or 0, signal.SIGSTOP)
    error = await pipe.next()
    assert "gave no sign of life" in str(error)
    assert isinstance(error, WorkerDiedError)
    assert error.hung
    assert not small_workers.is_running(worker.pid)


async def test_a_worker_that_holds_pythons_lock_is_left_alone() -> None:
    """It answers no ping while it computes in a library, and is alive; where it only waits there, it is killed."""
    pipe = Pipe()
    worker = await pipe.start(small_workers.compute_then_wait, silence_timeout=1)
    await pipe.next()
    await asyncio.sleep(1.7)
    assert worker.alive

    assert "gave no sign of life" in str(await pipe.next())


async def test_a_worker_without_progress_is_killed() -> None:
    """However well it answers pings; without a call there is nothing to make progress with."""
    pipe = Pipe()
    worker = await pipe.start(small_workers.echo, progress_timeout=0.4)
    await worker.send(CancelCall("one"))
    await pipe.next()
    await asyncio.sleep(0.8)
    assert worker.alive
    await worker.send(RunCall(call()))

    assert "made no progress" in str(await pipe.next())


async def test_a_message_to_a_worker_that_does_not_read_holds_up_nobody() -> None:
    """A pipe that is full fills no thread that others need, and the worker is ended all the same."""
    pipe = Pipe()
    worker = await pipe.start(small_workers.ignore, silence_timeout=1)
    await pipe.next()
    for _ in range(20):
        await asyncio.wait_for(worker.send(CancelCall("x" * 100_000)), 5)

    assert "gave no sign of life" in str(await pipe.next())


async def test_a_half_written_message_ends_with_its_worker() -> None:
    """Also where a child of the worker holds the pipe open, so that its end is never seen."""
    pipe = Pipe()
    worker = await pipe.start(small_workers.write_half, silence_timeout=0.5)

    assert "gave no sign of life" in str(await pipe.next())
    await worker.stop()


async def test_a_process_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the model and the reason of the system."""

    def refuse(*_: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(gang_start, "start_process", refuse)
    order = Start(call().model, PIPELINE, WorkerOptions())
    with pytest.raises(WorkerDiedError, match=r"'demo': .*temporarily unavailable"):
        await WorkerProcess.start(order, lambda _: None, multiprocessing.get_context("spawn"))


@pytest.mark.parametrize("ends", [False, True], ids=["is not started", "ends at once"])
def test_processes_of_a_gang_that_is_not_complete_are_joined(monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    """Where the last process cannot be started, or ends at once, those before it end, and leave no descriptor."""
    started, joined = list[str](), list[str]()
    pipes = [multiprocessing.Pipe() for _ in range(3)]
    for _, theirs in pipes:
        theirs.close()

    def start(*_: object) -> tuple[str, Connection]:
        if len(started) == 2 and not ends:
            raise OSError(11, "Resource temporarily unavailable")
        started.append(f"process {len(started)}")
        return started[-1], pipes[len(started) - 1][0]

    class Handle:
        def __init__(self, process: str) -> None:
            self.process = process

        def join(self) -> None:
            joined.append(self.process)

    monkeypatch.setattr(gang_start, "start_process", start)
    monkeypatch.setattr(gang_start, "ProcessHandle", Handle)
    split = call().model.model_copy(update={"device": "cpu", "parallel": ParallelConfig(devices=3)})
    with pytest.raises(OSError, match=r"temporarily|Broken pipe"):
        gang_start.start_gang(Start(split, PIPELINE, WorkerOptions()), multiprocessing.get_context("spawn"))

    assert started == joined == [f"process {number}" for number in range(3 if ends else 2)]
    assert all(ours.closed for ours, _ in pipes[: len(started)])


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (-9, "", "was ended by signal SIGKILL. SIGKILL often means that the machine ran out of memory."),
        (-11, "", "was ended by signal SIGSEGV."),
        (-40, "", "was ended by signal 40."),
        (1, "", "ended with exit code 1. See the log"),
        (None, "", "ended for an unknown reason. See the log"),
        (-9, "made no progress", "made no progress and was ended. The settings"),
    ],
)
def test_the_error_states_how_a_worker_ended(code: int | None, reason: str, words: str) -> None:
    """By a signal, by an exit code, or by the server itself, which gives its reason."""
    error = exit_error("demo", code, reason)

    assert isinstance(error, WorkerDiedError)
    assert f"The worker process of model 'demo' {words}" in str(error)


def test_a_worker_whose_device_failed_ends_with_that_error() -> None:
    """Its exit code says so."""
    assert isinstance(exit_error("demo", DEVICE_BROKEN), DeviceError)
    other = exit_error("demo", GANG_BROKEN)
    assert isinstance(other, WorkerDiedError)
    assert "Another process of those that model 'demo' is split over has failed or ended." == other.message
