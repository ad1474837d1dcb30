"""The server's end of one worker process: start it, talk to it, notice its end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from octabox.engine.messages import FromWorker, Start, ToWorker
from octabox.engine.worker.entry import work
from octabox.errors import OctaboxError, WorkerDiedError

#: Seconds that a worker has to end by itself before it is killed.
GRACE = 5.0

#: What a worker's end of its pipe hands over: a message, or None when the process has ended.
Listener = Callable[[FromWorker | None], None]


class WorkerProcess:
    """One worker process and the pipe to it.

    Messages from the worker reach ``listener`` on the event loop's thread; None is the last, once the process has ended.
    """

    def __init__(self, process: BaseProcess, connection: Connection, listener: Listener) -> None:
        self._process = process
        self._connection = connection
        self._writing = threading.Lock()
        self._ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def deliver(message: FromWorker | None) -> None:
            if message is None:
                self._ended.set()
            listener(message)

        def receive() -> None:
            with contextlib.suppress(EOFError, OSError):
                while True:
                    _post(loop, deliver, connection.recv())
            process.join()
            _post(loop, deliver, None)

        threading.Thread(target=receive, name=f"pipe of worker {process.pid}", daemon=True).start()

    @classmethod
    async def start(cls, order: Start, listener: Listener, context: BaseContext) -> WorkerProcess:
        """Start a process that loads the ordered model; the answer comes as a message."""

        def begin() -> tuple[BaseProcess, Connection]:
            process, connection = start_process(context, work)
            connection.send(order)
            return process, connection

        try:
            process, ours = await asyncio.to_thread(begin)
        except OSError as error:
            raise WorkerDiedError(
                f"No worker process could be started for '{order.model.name}': {error}.",
                hint="Check the limits on memory and processes of this machine.",
                model=order.model.name,
            ) from error
        return cls(process, ours, listener)

    @property
    def pid(self) -> int | None:
        """The process's number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended yet, as far as we know."""
        return not self._ended.is_set()

    async def send(self, message: ToWorker) -> None:
        """Send a message; one to a process that has ended is lost, and `listener` hears of that end."""
        await asyncio.to_thread(self._send, message)

    def _send(self, message: ToWorker) -> None:
        with contextlib.suppress(OSError), self._writing:
            self._connection.send(message)

    async def stop(self) -> None:
        """End the process, by force if it does not hear, and wait until it is gone."""
        # A worker that is in a call hears nothing of a closed pipe's politeness: closing it makes its listener thread exit.
        self._process.terminate()
        try:
            await asyncio.wait_for(self._ended.wait(), GRACE)
        except asyncio.TimeoutError:
            self._process.kill()
            await self._ended.wait()
        self._connection.close()

    def epitaph(self, model: str) -> OctaboxError:
        """Return the error that tells how the process ended."""
        code = self._process.exitcode
        if code is not None and code < 0:
            how = f"was ended by signal {signal.Signals(-code).name}"
            hint = "SIGKILL often means that the machine ran out of memory." if -code == signal.SIGKILL else ""
        else:
            how, hint = f"ended with exit code {code}", "The log says more."
        return WorkerDiedError(f"The worker process of model '{model}' {how}.", hint=hint, model=model)


def start_process(context: BaseContext, function: Callable[[Connection], None]) -> tuple[BaseProcess, Connection]:
    """Start a process that runs a function with its end of a pipe; return the process and our end."""
    ours, theirs = context.Pipe()
    process: BaseProcess = context.Process(target=function, args=(theirs,), daemon=True)  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    return process, ours


def ask_process(
    context: BaseContext, function: Callable[[Connection], None], order: object = None, timeout: float | None = None
) -> Any:
    """Run a function in a process of its own, and return its first message.

    Args:
        context: Makes the process.
        function: What it runs, with its end of a pipe.
        order: What is sent to it first; None is nothing.
        timeout: Seconds to wait; None waits as long as the process lives.

    Raises:
        ProcessEndedError: It ended, or was ended after ``timeout``, without a message.
    """
    process, ours = start_process(context, function)
    ended = None
    try:
        if order is not None:
            ours.send(order)
        if ours.poll(timeout):
            return ours.recv()
    except (EOFError, OSError):
        process.join()
        ended = process.exitcode
    finally:
        process.terminate()
        process.join(GRACE)
        process.kill()
        ours.close()
    raise ProcessEndedError(ended)


class ProcessEndedError(Exception):
    """A process ended without an answer; ``exit_code`` is None where it was ended because it took too long."""

    def __init__(self, exit_code: int | None) -> None:
        super().__init__(f"ended with exit code {exit_code}" if exit_code is not None else "took too long")
        self.exit_code = exit_code


def _post(loop: asyncio.AbstractEventLoop, deliver: Listener, message: FromWorker | None) -> None:
    """Hand a message to the event loop; at its end nobody listens any more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(deliver, message)
