"""The server's end of one worker process: start it, send it messages, receive its own, and notice its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

from octabox.engine.local.processes.starting import (
    SHUTDOWN_TIMEOUT,
    SIGKILL,
    ProcessHandle,
    in_daemon_thread,
    start_process,
)
from octabox.engine.messages import DEVICE_BROKEN, Alive, FromWorker, Ping, RunCall, Start, ToWorker
from octabox.engine.worker.entry import work
from octabox.errors import DeviceError, InvalidParameterError, OctaboxError, WorkerDiedError

logger = logging.getLogger("octabox.engine")

#: Seconds without an answer until a worker that is to end is killed, and seconds without progress while it answers.
SILENCE, STALL = 20.0, 1800.0

#: Receives the messages of a worker; the last one is the error that states how its process ended.
Listener = Callable[[FromWorker | OctaboxError], None]


class WorkerProcess:
    """A worker process and the pipe to it.

    Args:
        model: Name of its model.
        process: The process, which has been started.
        connection: The server's end of the pipe.
        listener: Called with each message on the event loop's thread; the last one is an error, once the process has ended.
    """

    def __init__(self, model: str, process: BaseProcess, connection: Connection, listener: Listener) -> None:
        self._model = model
        self._handle = ProcessHandle(process)
        self._connection = connection
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._writing = threading.Lock()
        self._ended = asyncio.Event()
        self._kill_reason, self._stopped = "", False
        self._progressed, self._pinged = time.monotonic(), 0.0
        self._ping: asyncio.Task[None] | None = None
        threading.Thread(target=self._receive, name=f"pipe of worker {process.pid}", daemon=True).start()

    @classmethod
    async def start(cls, order: Start, listener: Listener, context: BaseContext) -> WorkerProcess:
        """Start a process that loads a model; the answer comes as a message.

        Args:
            order: The model.
            listener: Receives the messages.
            context: Makes the process.

        Raises:
            WorkerDiedError: No process could be started.
        """

        def begin() -> tuple[BaseProcess, Connection]:
            process, connection = start_process(context, work)
            connection.send(order)
            return process, connection

        name = order.model.name
        try:
            process, connection = await in_daemon_thread(begin)
        except OSError as error:
            raise WorkerDiedError(
                f"No worker process could be started for '{name}': {error}.",
                hint="Check the limits on memory and processes of this machine.",
                model=name,
            ) from error
        return cls(name, process, connection, listener)

    @property
    def pid(self) -> int | None:
        """The process id."""
        return self._handle.pid

    @property
    def alive(self) -> bool:
        """Whether the process is not known to have ended."""
        return not self._ended.is_set()

    async def send(self, message: ToWorker) -> None:
        """Send a message; it is lost where the process has ended, which the listener is notified of.

        Raises:
            InvalidParameterError: A parameter cannot be sent, such as one that is nested too deeply.
        """
        await asyncio.to_thread(self._send, message)

    async def stop(self) -> None:
        """End the process, by force if need be, and wait for its end, but not indefinitely."""
        # Closing the pipe would not reach a worker that is in a call, and would end the thread that receives.
        self._handle.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._ended.wait(), SHUTDOWN_TIMEOUT)
        except asyncio.TimeoutError:
            await self._kill("did not end when it was asked to")
        self._stopped = True  # An end that comes later is not reported.
        self._connection.close()

    async def check(self) -> None:
        """Ping the process; kill it where it has not answered, or made no progress, for too long."""
        now = time.monotonic()
        if self._pinged and now - self._pinged > SILENCE:
            await self._kill(f"gave no sign of life for {now - self._pinged:.0f} seconds")
        elif now - self._progressed > STALL:
            await self._kill(f"made no progress for {now - self._progressed:.0f} seconds")
        elif not self._pinged:
            # In the background, since a pipe that is not read may be full.
            self._pinged, self._ping = now, asyncio.create_task(self.send(Ping()))

    async def _kill(self, reason: str) -> None:
        """Kill the process, and wait for its end, but not indefinitely.

        Args:
            reason: Why, in words that follow "Worker process".
        """
        logger.warning("Worker process %s %s; it is ended by force", self.pid, reason)
        self._kill_reason = reason
        self._handle.signal(SIGKILL)
        try:
            await asyncio.wait_for(self._ended.wait(), SHUTDOWN_TIMEOUT)
        except asyncio.TimeoutError:
            # It hangs in the kernel, as a process may whose device has failed.
            logger.error("Worker process %s has been killed and does not end", self.pid)  # noqa: TRY400

    def _send(self, message: ToWorker) -> None:
        content = pack(message)
        with contextlib.suppress(OSError), self._writing:
            self._connection.send_bytes(content)

    def _receive(self) -> None:
        """Hand over all messages, then the end of the process; runs in a thread."""
        try:
            while self._wait_for_message():
                self._post(self._connection.recv())
        except (EOFError, OSError):
            pass
        except Exception:
            # A message that cannot be read may be one that a request waits for.
            logger.exception("A message of worker process %s cannot be read; it is ended", self.pid)
            self._handle.signal(SIGKILL)
        self._handle.join()
        self._post(None)

    def _wait_for_message(self) -> bool:
        """Wait for a message; return False once the process has ended and all its messages are read."""
        return self._connection in wait([self._connection, self._handle.sentinel]) or self._connection.poll()

    def _post(self, message: FromWorker | None) -> None:
        """Hand a message to the event loop, unless that is closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._deliver, message)

    def _deliver(self, message: FromWorker | None) -> None:
        """Hand a message, or the end of the process, to the listener."""
        self._pinged = 0.0
        if message is None:
            self._ended.set()
        if isinstance(message, Alive) or self._stopped:
            return
        self._progressed = time.monotonic()
        self._listener(self._exit_error() if message is None else message)

    def _exit_error(self) -> OctaboxError:
        """Return the error that states how the process ended."""
        return exit_error(self._model, self._handle.exit_code, self._kill_reason)


def exit_error(model: str, exit_code: int | None, kill_reason: str = "") -> OctaboxError:
    """Return the error that states how the worker of a model ended.

    Args:
        model: Name of the model.
        exit_code: Its exit code, negative for a signal; None is not known.
        kill_reason: Why the server killed it, if it did.
    """
    worker = f"The worker process of model '{model}'"
    if kill_reason:
        return WorkerDiedError(f"{worker} {kill_reason} and was ended.", model=model)
    if exit_code == DEVICE_BROKEN:
        return DeviceError(f"The device of model '{model}' failed.", hint="See the log for the cause.", model=model)
    if exit_code is not None and exit_code < 0:
        hint = "SIGKILL often means that the machine ran out of memory." if -exit_code == SIGKILL else ""
        return WorkerDiedError(
            f"{worker} was ended by signal {signal.Signals(-exit_code).name}.", hint=hint, model=model
        )
    how = "for an unknown reason" if exit_code is None else f"with exit code {exit_code}"
    return WorkerDiedError(f"{worker} ended {how}.", hint="See the log for the cause.", model=model)


def pack(message: ToWorker) -> Any:
    """Return a message as bytes.

    Raises:
        InvalidParameterError: A parameter of the call cannot be sent.
    """
    try:
        return ForkingPickler.dumps(message)
    except Exception as error:
        if not isinstance(message, RunCall):
            raise
        params = [item for run in message.call.runs for item in run.params.items()]
        name = next((name for name, value in params if not _can_pack(value)), None)
        reason = "is nested too deeply" if isinstance(error, RecursionError) else f"cannot be sent to a worker: {error}"
        raise InvalidParameterError(
            f"{f'`{name}`' if name else 'The request'} {reason}.",
            hint="Send plain values, in few levels.",
            model=message.call.model.name,
            parameter=name,
        ) from error


def _can_pack(value: Any) -> bool:
    """Return whether a value can be sent."""
    try:
        ForkingPickler.dumps(value)
    except Exception:  # noqa: BLE001 (a class may raise anything)
        return False
    return True
