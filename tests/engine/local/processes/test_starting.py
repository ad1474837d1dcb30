"""Processes that are asked for one answer, and the end of processes whose fork server has ended."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
from multiprocessing.context import BaseContext
from pathlib import Path

import psutil
import pytest

import small_workers
from octabox.engine.local.processes import starting
from octabox.engine.local.processes.starting import (
    ProcessEndedError,
    ProcessHandle,
    ask_process,
    in_daemon_thread,
    start_process,
)
from octabox.engine.messages import RunStarted

TESTS = Path(__file__).parents[3]

SPAWN, FORK_SERVER = map(multiprocessing.get_context, ("spawn", "forkserver"))


@pytest.mark.parametrize(
    "scenario",
    [
        "worker_outlives_fork_server",
        "process_starts_while_fork_server_ends",
        "fork_server_does_not_answer",
        "stopped_fork_server_is_replaced",
        "stopped_fork_server_ends_with_the_program",
    ],
)
def test_the_end_of_a_fork_server_ends_no_worker(scenario: str) -> None:
    """A worker serves on, and ends by a signal of ours; what is started next gets a new fork server."""
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(TESTS / "fork_server_run.py"), scenario]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=240
    )

    assert 0 == done.returncode, done.stderr
    assert not small_workers.is_running(int(done.stdout or 0))


def test_a_process_is_asked_for_one_answer() -> None:
    """The first message is the answer, and the process has ended then."""
    assert RunStarted("one") == ask_process(SPAWN, small_workers.report)


def test_a_process_that_ends_without_an_answer_is_an_error() -> None:
    """The error has its exit code."""
    with pytest.raises(ProcessEndedError, match="ended with exit code 3") as caught:
        ask_process(SPAWN, small_workers.fail)

    assert 3 == caught.value.exit_code


def test_a_process_that_takes_too_long_is_an_error() -> None:
    """It is ended."""
    with pytest.raises(ProcessEndedError, match="took too long"):
        ask_process(SPAWN, small_workers.wait, timeout=0.1)


async def test_an_exception_in_a_thread_is_raised_where_it_is_awaited() -> None:
    """So is its result returned."""
    assert 1 == await in_daemon_thread(lambda: 1)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(in_daemon_thread(lambda: 1 // 0), 20)


@pytest.mark.parametrize("descriptors", [True, False], ids=["descriptor", "sentinel"])
def test_a_process_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch, descriptors: bool) -> None:
    """With a file descriptor of the process, and where the system has none; signals to one that has ended are lost."""
    monkeypatch.setattr(starting, "SHUTDOWN_TIMEOUT", 0.2)
    if not descriptors:
        monkeypatch.delattr(os, "pidfd_open")
    process, connection = start_process(SPAWN, small_workers.wait)
    handle = ProcessHandle(process)
    handle.join()
    handle.signal(9)

    assert -9 == handle.exit_code
    assert not small_workers.is_running(handle.pid)
    connection.close()


@pytest.mark.skipif(psutil.WINDOWS, reason="Windows counts handles")
@pytest.mark.parametrize("context", [SPAWN, FORK_SERVER], ids=["spawn", "forkserver"])
def test_a_process_that_has_ended_leaves_no_descriptor(context: BaseContext) -> None:
    """Although it is still known: what knows a process may be part of a cycle, which the garbage collector finds late."""
    ask_process(context, small_workers.report)  # Starts what stays, such as a fork server.
    known, before = [], psutil.Process().num_fds()
    for _ in range(3):
        process, connection = start_process(context, small_workers.report)
        known.append((process, ProcessHandle(process)))
        known[-1][1].join()
        connection.close()

    assert before == psutil.Process().num_fds()
    assert [0, 0, 0] == [handle.exit_code for _, handle in known]
