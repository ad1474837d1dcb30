"""A program whose fork server ends or stops answering; by itself, since all tests of a process share one fork server."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
from functools import partial
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from typing import Any

import pytest

from fake_worker import PIPELINE, model
from octabox.engine.local.engine import LocalEngine
from octabox.engine.local.processes.forkserver import ProcessStarter, end_fork_server
from octabox.engine.local.processes.starting import in_daemon_thread, start_process
from octabox.engine.local.processes.worker_process import Listener, WorkerProcess
from octabox.engine.messages import CancelCall, Loaded, RunStarted, Start
from octabox.errors import LoadError
from small_workers import echo, is_running

#: How often a race is run, unless the command line sets another number.
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3


def fork_server() -> int:
    """Return the process id of the fork server."""
    pid: int = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return pid


async def start(context: BaseContext, listener: Listener, timeout: float = 60) -> WorkerProcess:
    """Start a small worker."""
    process, connection = await in_daemon_thread(lambda: start_process(context, echo, timeout))
    return WorkerProcess("demo", process, connection, listener)


async def start_loaded(order: Start, listener: Listener, context: BaseContext, timeout: float = 60) -> WorkerProcess:
    """Start a small worker that says that it has loaded its model."""
    worker = await start(context, listener, timeout)
    listener(Loaded(order.model.device or "cpu", 0.1))
    return worker


async def worker_outlives_fork_server() -> None:
    """A worker answers after the end of its fork server, and when it is stopped it has ended."""
    context = ProcessStarter(spawns=False).context
    for _ in range(ROUNDS):
        messages: asyncio.Queue[Any] = asyncio.Queue()
        worker = await start(context, messages.put_nowait)
        server = fork_server()
        end_fork_server()
        assert not is_running(server)
        await worker.send(CancelCall("one"))
        assert RunStarted("one") == await messages.get()
        assert worker.alive
        await worker.stop()
        assert not is_running(worker.pid)
        assert not worker.alive


async def process_starts_while_fork_server_ends() -> None:
    """A process is started by the next fork server where this one is just ending, and each end is logged once."""
    context, log = ProcessStarter(spawns=False).context, Log()
    for number in range(1, ROUNDS + 1):
        messages: asyncio.Queue[Any] = asyncio.Queue()
        first = await start(context, messages.put_nowait)
        os.kill(fork_server(), signal.SIGKILL)
        second = await start(context, messages.put_nowait)
        assert number == len(log.lines), log.lines
        for worker in (first, second):
            await worker.stop()
            assert not is_running(worker.pid)


async def fork_server_does_not_answer() -> None:
    """A load has its limit even where no process comes to be; the next load gets a new fork server."""
    processes = ProcessStarter(spawns=False)
    engine = LocalEngine(load_timeout=1, processes=processes, start_worker=start_loaded)
    forkserver.ensure_running()
    server = fork_server()
    os.kill(server, signal.SIGSTOP)
    with pytest.raises(LoadError, match="within 1 seconds"):
        await engine.load(model(), PIPELINE)
    assert not is_running(server)
    later = LocalEngine(processes=processes, start_worker=start_loaded)
    assert "ready" == (await later.load(model(), PIPELINE)).state
    await later.close()
    await engine.close()


async def stopped_fork_server_is_replaced() -> None:
    """A load waits no longer than the limit of silence, and is served by a new fork server; so is one after a kill."""
    log = Log()
    processes = ProcessStarter(spawns=False)
    engine = LocalEngine(processes=processes, start_worker=partial(start_loaded, timeout=1))
    await engine.load(model("one"), PIPELINE)
    for number, name in (signal.SIGSTOP, "two"), (signal.SIGKILL, "three"):
        server = fork_server()
        os.kill(server, number)
        assert "ready" == (await asyncio.wait_for(engine.load(model(name), PIPELINE), 60)).state
        assert server != fork_server()
        assert not is_running(server)
    for name in ("one", "two", "three"):
        assert await asyncio.wait_for(engine.unload(name), 60)
    assert 2 == len(log.lines), log.lines
    await engine.close()


async def stopped_fork_server_ends_with_the_program() -> None:
    """The end of this program does not wait for what it would report of a worker, and it does not stay behind."""
    worker = await start(ProcessStarter(spawns=False).context, lambda _: None)
    os.kill(fork_server(), signal.SIGSTOP)
    await worker.stop()
    sys.stdout.write(str(fork_server()))


class Log(logging.Handler):
    """What the engine logs at WARNING or above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        logging.getLogger("octabox.engine").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


if __name__ == "__main__":
    multiprocessing.set_forkserver_preload([])
    asyncio.run(globals()[sys.argv[1]]())
