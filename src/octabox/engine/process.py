"""The server's end of one worker process: start it, talk to it, notice its end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from octabox.engine.forkserver import worker_context
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
    async def start(cls, order: Start, listener: Listener) -> WorkerProcess:
        """Start a process that loads the ordered model; the answer comes as a message."""
        context = worker_context()
        ours, theirs = context.Pipe()

        def fork() -> BaseProcess:
            process = context.Process(target=work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            ours.send(order)
            return process

        try:
            process = await asyncio.to_thread(fork)
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


def _post(loop: asyncio.AbstractEventLoop, deliver: Listener, message: FromWorker | None) -> None:
    """Hand a message to the event loop; at its end nobody listens any more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(deliver, message)
