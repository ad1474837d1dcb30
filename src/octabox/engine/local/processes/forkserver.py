"""How worker processes are started: forked from a process that has imported torch, or spawned where that is impossible.

Importing torch, diffusers and transformers takes seconds; a fork of a process that has done so takes milliseconds and shares
its pages. See `multiprocessing.forkserver` for how it works, and `docs/adr/0013-workers-and-accelerators.md` for when a fork
cannot use an accelerator.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.metadata
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext

from octabox.engine.local.processes.liveness import SHUTDOWN_TIMEOUT, Silence, check_interval, cpu_seconds
from octabox.engine.messages import BadFork

#: Variable with the classes that the fork server imports ahead, as "library.Class" separated by commas.
PRELOAD_ENV = "_OCTABOX_FORKSERVER_WARM"

#: Local version labels of torch, as in 2.13.0+xpu, whose accelerators a fork cannot use once a library has counted them.
SPAWNING_BUILDS = {"xpu"}

_PRELOAD = "octabox.engine.worker.preload"

logger = logging.getLogger("octabox.engine")

#: Fork servers whose end has been logged.
_ended: set[int] = set()


class ProcessStarter:
    """Starts processes by fork, until one of them reports that it cannot use the accelerators; from then on by spawn.

    Args:
        spawns: Whether to spawn from the start; None does so where nothing can be forked.
    """

    def __init__(self, *, spawns: bool | None = None) -> None:
        self._spawns = not can_fork() if spawns is None else spawns

    @property
    def spawns(self) -> bool:
        """Whether processes are spawned."""
        return self._spawns

    @property
    def context(self) -> ForkServerContext | SpawnContext:
        """The context that makes the next process."""
        return multiprocessing.get_context("spawn") if self._spawns else multiprocessing.get_context("forkserver")

    def start(self, preload: Iterable[str] = ()) -> None:
        """Start the fork server in the background, unless it runs; ``preload`` are classes that it imports ahead."""
        if self._spawns:
            return
        os.environ[PRELOAD_ENV] = ",".join(preload)
        multiprocessing.get_context("forkserver").set_forkserver_preload([_PRELOAD])
        running_fork_server()

    def use_spawn(self, report: BadFork) -> None:
        """Spawn all processes from now on, since a forked one reported that it cannot use an accelerator."""
        if self._spawns:
            return
        self._spawns = True
        os.environ.pop(PRELOAD_ENV, None)  # A spawned worker imports what its own model needs.
        logger.warning(
            "A library has initialised %s in the fork server, and a forked process cannot use it then: "
            "from now on each worker is a new process, which takes some seconds longer to start",
            " and ".join(report.device_types),
        )

    def end_fork_server(self) -> None:
        """Kill the fork server, since it does not answer, and wait for its end; the next process gets a new one."""
        end_fork_server()


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Within the context, start processes that Ctrl-C does not reach, also while they import: they end with this process."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def can_fork() -> bool:
    """Return whether a fork server may be tried: not on macOS, and not with a build of torch that forks cannot use."""
    if "forkserver" not in multiprocessing.get_all_start_methods() or sys.platform == "darwin":
        return False
    try:
        build = importlib.metadata.version("torch").partition("+")[2]
    except importlib.metadata.PackageNotFoundError:
        return True
    return build not in SPAWNING_BUILDS


def running_fork_server() -> int | None:
    """Start the fork server unless it runs; return its process id. It is killed when this process exits."""
    # multiprocessing would wait indefinitely for what a fork server reports that does not answer.
    atexit.unregister(end_fork_server)
    atexit.register(end_fork_server)
    with interrupts_blocked():
        forkserver.ensure_running()
    return fork_server_pid()


def fork_server_pid() -> int | None:
    """Return the process id of the fork server that was started last; None before the first start."""
    pid: int | None = getattr(getattr(forkserver, "_forkserver", None), "_forkserver_pid", None)
    return pid


def end_fork_server(pid: int | None = None) -> None:
    """Kill the fork server, if there is one, and wait for its end, but not indefinitely; the next process gets a new one.

    Args:
        pid: Its process id; another fork server, which has taken its place, is left alone. None is whichever there is.
    """
    current = fork_server_pid()
    if current is None or pid not in (None, current):
        return
    _ended.add(current)
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(current, signal.SIGKILL)
        end = time.monotonic() + SHUTDOWN_TIMEOUT
        # multiprocessing starts a new one where it can reap this one, so it must not be reaped here.
        while os.waitid(os.P_PID, current, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None and time.monotonic() < end:
            time.sleep(0.01)


@contextlib.contextmanager
def fork_server_watched(timeout: float) -> Iterator[None]:
    """Within the context, in which a process is started, end the fork server where it does not answer.

    While it imports, it cannot answer, but uses CPU time. Where the system does not report that time, nothing is ended.

    Args:
        timeout: Seconds without a sign of life; 0 is no limit.
    """
    done = threading.Event()
    if timeout:
        threading.Thread(target=_watch, args=(done, timeout), name="watch of the fork server", daemon=True).start()
    before = fork_server_pid()
    try:
        yield
    finally:
        done.set()
        if before != fork_server_pid():
            log_end(before)


def log_end(pid: int | None) -> None:
    """Log that a fork server had ended, unless that or why it was ended has been logged."""
    if pid is not None and pid not in _ended:
        _ended.add(pid)
        logger.warning("The fork server had ended; a new one is started")


def _watch(done: threading.Event, timeout: float) -> None:
    """End the fork server after some time without a sign of life."""
    interval, pid, silence = check_interval(timeout), None, Silence(None)
    while not done.wait(interval):
        if pid != fork_server_pid():
            pid, silence = fork_server_pid(), Silence(fork_server_pid())
        elif cpu_seconds(pid) is not None and silence.count(interval) >= timeout:
            logger.warning("The fork server has given no sign of life for %g seconds; a new one is started", timeout)
            end_fork_server(pid)
