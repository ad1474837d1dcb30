"""Start processes, ask them for one answer, and find out when they have ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from octabox.engine.local.processes.forkserver import (
    end_fork_server,
    fork_server_watched,
    interrupts_blocked,
    log_end,
    running_fork_server,
)
from octabox.engine.local.processes.liveness import SHUTDOWN_TIMEOUT, SILENCE_TIMEOUT, Silence, check_interval

T = TypeVar("T")

#: Exit code that multiprocessing reports for a process whose fork server has ended.
FORK_SERVER_LOST = 255

#: The signal that no process can ignore; Windows knows one signal that ends a process.
SIGKILL = getattr(signal, "SIGKILL", signal.SIGTERM)

#: Seconds until a fork server has reported how a process ended.
EXIT_CODE_TIMEOUT = 1.0


class ProcessHandle:
    """A process, with its signals and its end.

    multiprocessing signals a forked process, and learns of its end, by the fork server. Where the system can, both go by a
    file descriptor of the process instead, so that they hold when the fork server has ended.

    Args:
        process: The process, which has been started.
    """

    def __init__(self, process: BaseProcess) -> None:
        self._process = process
        #: The process id.
        self.pid: int | None = process.pid
        self._lock = threading.Lock()
        self._pidfd = _open_pidfd(process)
        self._ended = False
        self._exit_code: int | None = None

    @property
    def sentinel(self) -> int:
        """What is ready to be read once the process has ended, for `multiprocessing.connection.wait`."""
        return self._process.sentinel if self._pidfd is None else self._pidfd

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs, or where it is not known."""
        with self._lock:
            code = self._exit_code if self._ended else self._process.exitcode
        return None if code == FORK_SERVER_LOST else code

    def signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._ended or not self.pid:
                return
            if self._pidfd is None:
                os.kill(self.pid, number)
            else:
                signal.pidfd_send_signal(self._pidfd, number)

    def join(self) -> None:
        """Wait for the end of the process, but not indefinitely, and close its descriptors; one that does not end is killed."""
        if not wait([self.sentinel], SHUTDOWN_TIMEOUT):
            self.signal(SIGKILL)
            wait([self.sentinel], SHUTDOWN_TIMEOUT)
        elif self._pidfd is None and self.exit_code is None:
            self.signal(SIGKILL)  # The sentinel is ready, too, where only the fork server has ended.
        self._process.join(EXIT_CODE_TIMEOUT)
        with self._lock:
            self._ended, self._exit_code = True, self._process.exitcode
            if self._pidfd is not None:
                os.close(self._pidfd)
            # The garbage collector may close its pipes much later. One that does not even end when it is killed keeps them.
            with contextlib.suppress(ValueError):
                self._process.close()


def _open_pidfd(process: BaseProcess) -> int | None:
    """Return a file descriptor of a process; None where the system has none, or the process has ended."""
    if not hasattr(os, "pidfd_open") or not hasattr(signal, "pidfd_send_signal") or process.pid is None:
        return None
    try:
        return os.pidfd_open(process.pid)
    except OSError:
        return None


def start_process(
    context: BaseContext, function: Callable[[Connection], None], timeout: float = SILENCE_TIMEOUT
) -> tuple[BaseProcess, Connection]:
    """Start a process that runs a function with its end of a pipe; return the process and our end.

    Args:
        context: Makes the process.
        function: What it runs.
        timeout: Seconds without a sign of life after which a fork server is ended, and a new one started; 0 is no limit.

    Raises:
        OSError: It cannot be started.
    """
    if context.get_start_method() != "forkserver":
        return _start_process(context, function)
    with fork_server_watched(timeout):
        server = running_fork_server()
        try:
            return _start_process(context, function)
        except (EOFError, ConnectionError):
            # The fork server has just ended, as where the system had no memory left. The next one may have some.
            log_end(server)
            end_fork_server(server)
        try:
            return _start_process(context, function)
        except EOFError as error:
            raise ConnectionResetError("the fork server has ended") from error


def _start_process(context: BaseContext, function: Callable[[Connection], None]) -> tuple[BaseProcess, Connection]:
    ours, theirs = context.Pipe()
    with theirs:
        process: BaseProcess = context.Process(target=function, args=(theirs,), daemon=True)  # type: ignore[attr-defined]
        try:
            with interrupts_blocked():
                process.start()
        except BaseException:
            ours.close()
            raise
    return process, ours


def ask_process(
    context: BaseContext,
    function: Callable[[Connection], None],
    order: object = None,
    timeout: float | None = None,
    silence: float | None = None,
) -> Any:
    """Run a function in a new process, and return its first message.

    Args:
        context: Makes the process.
        function: What it runs, with its end of a pipe.
        order: What is sent to it first; None sends nothing.
        timeout: Seconds to wait; None waits as long as the process runs.
        silence: Seconds without a sign of life after which it is ended; None is no limit.

    Raises:
        ProcessEndedError: It ended, or was ended after ``timeout`` or ``silence``, without a message.
    """
    process, ours = start_process(context, function)
    handle, ends, timed_out = ProcessHandle(process), False, False
    try:
        if order is not None:
            ours.send(order)
        if ours.poll(timeout) if silence is None else _poll_alive(ours, handle.pid, silence):
            return ours.recv()
        timed_out = True
    except (EOFError, OSError):
        ends = True  # By itself, so that its exit code is known.
    finally:
        if not ends:
            handle.signal(signal.SIGTERM)
        handle.join()
        ours.close()
    raise ProcessEndedError(None if timed_out else handle.exit_code)


def _poll_alive(connection: Connection, pid: int | None, silence: float) -> bool:
    """Wait for a message as long as a process shows signs of life; return whether there is one."""
    interval, silent = check_interval(silence), Silence(pid)
    while not connection.poll(interval):
        if silent.count(interval) >= silence:
            return False
    return True


class ProcessEndedError(Exception):
    """A process ended without an answer; ``exit_code`` is None where it was ended because it took too long."""

    def __init__(self, exit_code: int | None) -> None:
        super().__init__(f"ended with exit code {exit_code}" if exit_code is not None else "took too long")
        self.exit_code = exit_code


async def in_daemon_thread(function: Callable[[], T]) -> T:
    """Call a function in a thread that the exit of the server does not wait for, since a fork server may never answer.

    A process that the function starts after its caller was cancelled ends by itself: its pipe is closed.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def post(resolve: Callable[[Any], None], value: object) -> None:
        if not result.done():
            resolve(value)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], object] = (result.set_result, function())
        except Exception as error:  # noqa: BLE001 (it is raised where the result is awaited)
            outcome = (result.set_exception, error)
        with contextlib.suppress(RuntimeError):  # The event loop is closed.
            loop.call_soon_threadsafe(post, *outcome)

    threading.Thread(target=run, name="start of a process", daemon=True).start()
    return await result
