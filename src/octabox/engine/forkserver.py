"""Where worker processes come from: a fork server that has torch imported and has touched no accelerator.

Importing torch, diffusers and transformers takes seconds; a fork of a process that has done so takes milliseconds and shares
its pages. See `multiprocessing.forkserver` for how it works, and `docs/adr/0003-worker-processes.md` for why.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext

#: Names of the classes that the fork server imports ahead, as "library.Class" parted by commas.
WARM_VARIABLE = "_OCTABOX_FORKSERVER_WARM"

_PRELOAD = "octabox.engine.worker.preload"


def start(warm: Iterable[str] = ()) -> None:
    """Start the fork server in the background, unless it runs; ``warm`` are classes that it imports ahead."""
    context = worker_context()
    if context.get_start_method() != "forkserver":
        return
    os.environ[WARM_VARIABLE] = ",".join(warm)
    context.set_forkserver_preload([_PRELOAD])
    forkserver.ensure_running()


def worker_context() -> ForkServerContext | SpawnContext:
    """Return the context that makes workers: a fork server, or plain new processes where that is not to be had."""
    if "forkserver" in multiprocessing.get_all_start_methods() and sys.platform != "darwin":
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")


def end_fork_server() -> None:
    """End the fork server by a signal of ours, since it does not answer; the next worker gets a new one."""
    pid = getattr(getattr(forkserver, "_forkserver", None), "_forkserver_pid", None)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
