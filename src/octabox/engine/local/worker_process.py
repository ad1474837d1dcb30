"""The server's end of one worker process: start it, talk to it, notice its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from octabox.engine.local.limits import in_daemon_thread, pack
from octabox.engine.messages import DEVICE_BROKEN, Alive, FromWorker, Ping, Start, ToWorker
from octabox.engine.worker.entry import work
from octabox.errors import DeviceError, OctaboxError, WorkerDiedError

logger = logging.getLogger("octabox.engine")

#: Exit code that multiprocessing makes up for a process whose fork server has ended.
FORK_SERVER_LOST = 255

#: The signal that no process can ignore; Windows knows one signal that ends a process.
SIGKILL = getattr(signal, "SIGKILL", signal.SIGTERM)

#: Seconds that a worker has to end by itself before it is killed.
SHUTDOWN_TIMEOUT = 5.0

#: Seconds without an answer until a worker that is to end is killed, and seconds without progress, however alive it is.
SILENCE, STALL = 20.0, 1800.0

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
        self._reason, self._gone, self._stopped = "", False, False
        self._progressed, self._asked = time.monotonic(), 0.0
        self._question: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()

        def deliver(message: FromWorker | None) -> None:
            if message is None:
                self._ended.set()
            self._asked = 0.0
            if not isinstance(message, Alive) and not self._stopped:
                self._progressed = time.monotonic()
                listener(message)

        def receive() -> None:
            try:
                while self._wait_for_message():
                    _post(loop, deliver, connection.recv())
            except (EOFError, OSError):
                pass
            except Exception:
                # Whoever waits for what cannot be read would wait for ever.
                logger.exception("A message of worker process %s cannot be read; it is ended", process.pid)
                self._signal(SIGKILL)
            self._reap()
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
            process, ours = await in_daemon_thread(begin)
        except (OSError, EOFError) as error:
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
        """Send a message; one to a process that has ended is lost, and `listener` hears of that end.

        Raises:
            InvalidParameterError: It holds a parameter that cannot be sent, such as one nested too deeply.
        """
        await asyncio.to_thread(self._send, message)

    def _send(self, message: ToWorker) -> None:
        content = pack(message)
        with contextlib.suppress(OSError), self._writing:
            self._connection.send_bytes(content)

    async def stop(self) -> None:
        """End the process, by force if it does not hear, and wait until it is gone, but not for ever."""
        # A worker that is in a call hears nothing of a closed pipe's politeness: closing it makes its listener thread exit.
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._ended.wait(), SHUTDOWN_TIMEOUT)
        except asyncio.TimeoutError:
            await self.kill("did not end when it was told to")
        self._stopped = True  # Where it has not ended even now, its end must not be taken for that of the next one.
        self._connection.close()

    async def check(self) -> None:
        """Ask the process whether it is alive; kill it where it has long not answered, or has long made no progress."""
        now = time.monotonic()
        if self._asked and now - self._asked > SILENCE:
            await self.kill(f"gave no sign of life for {now - self._asked:.0f} seconds")
        elif now - self._progressed > STALL:
            await self.kill(f"made no progress for {now - self._progressed:.0f} seconds")
        elif not self._asked:
            # In the background, since a pipe that nobody reads may be full.
            self._asked, self._question = now, asyncio.create_task(self.send(Ping()))

    async def kill(self, reason: str) -> None:
        """End the process by force, and wait until it is gone, but not for ever.

        Args:
            reason: Why, in words that follow "The worker process".
        """
        logger.warning("Worker process %s %s; it is ended by force", self.pid, reason)
        self._reason = reason
        self._signal(SIGKILL)
        try:
            await asyncio.wait_for(self._ended.wait(), SHUTDOWN_TIMEOUT)
        except asyncio.TimeoutError:
            # It hangs in the kernel, as a process may whose device has failed. Nobody is to wait for that.
            logger.error("Worker process %s has been killed and does not end", self.pid)  # noqa: TRY400

    def _wait_for_message(self) -> bool:
        """Wait until there is something to read; return whether the process has not ended."""
        waited: list[Any] = [self._connection, self._process.sentinel]
        while not self._connection.poll():
            if self._process.sentinel in wait(waited) and not self._connection.poll():
                if not self._lives():
                    return False
                # Only its fork server has ended; from now on the pipe alone reports its end.
                waited = [self._connection]
        return True

    def _lives(self) -> bool:
        """Return whether the process has not ended; not to be asked long after its pipe was closed."""
        self._process.join(1)
        if self._process.exitcode not in (None, FORK_SERVER_LOST):
            return False
        try:
            os.kill(self._process.pid or 0, 0)
        except ProcessLookupError:
            return False
        return True

    def _signal(self, number: int) -> None:
        """Send the process a signal ourselves; multiprocessing sends none where the fork server has ended."""
        if not self._gone and self._process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def _reap(self) -> None:
        """Wait until the process, which has closed its pipe, has ended; one that hangs at its end is killed."""
        self._process.join(SHUTDOWN_TIMEOUT)
        if self._lives():
            self._signal(SIGKILL)
            self._process.join(SHUTDOWN_TIMEOUT)
        self._gone = True

    def exit_error(self, model: str) -> OctaboxError:
        """Return the error that tells how the process ended."""
        code = self._process.exitcode
        if self._reason:
            return WorkerDiedError(f"The worker process of model '{model}' {self._reason} and was ended.", model=model)
        if code == DEVICE_BROKEN:
            return DeviceError(f"The device of model '{model}' failed.", hint="The log says more.", model=model)
        if code is not None and code < 0:
            how = f"was ended by signal {signal.Signals(-code).name}"
            hint = "SIGKILL often means that the machine ran out of memory." if -code == SIGKILL else ""
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
        process.join(SHUTDOWN_TIMEOUT)
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
