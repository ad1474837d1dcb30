"""The server's end of one worker process: start it, send it messages, receive its own, and notice its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess

from octabox.engine.exit_codes import DEVICE_BROKEN, GANG_BROKEN
from octabox.engine.local.processes.channel import Channel, pack, pack_message
from octabox.engine.local.processes.gang_start import start_gang
from octabox.engine.local.processes.liveness import SHUTDOWN_TIMEOUT, WorkerActivity, check_interval
from octabox.engine.local.processes.starting import SIGKILL, ProcessHandle, in_daemon_thread
from octabox.engine.messages import Alive, FromWorker, Ping, Start, ToWorker, WorkerOptions
from octabox.errors import DeviceError, OctaboxError, WorkerDiedError
from octabox.telemetry.signals import signal_name

logger = logging.getLogger("octabox.engine")

#: Receives the messages of a worker; the last one is the error that states how its process ended.
Listener = Callable[[FromWorker | OctaboxError], None]


class WorkerProcess:
    """A worker process and the pipe to it; it is ended where it shows no sign of life, or makes no progress.

    Args:
        model: Name of its model.
        process: The process, which has been started.
        connection: The server's end of the pipe.
        listener: Called with each message on the event loop's thread; the last one is an error, once the process has ended.
        options: Its settings.
        followers: The other processes that its model is split over, which end with it.
    """

    def __init__(
        self,
        model: str,
        process: BaseProcess,
        connection: Connection,
        listener: Listener,
        options: WorkerOptions | None = None,
        followers: Sequence[ProcessHandle] = (),
    ) -> None:
        self._model = model
        self._handle = ProcessHandle(process)
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._kill_reason, self._stopped, self._pinged = "", False, False
        self._channel = Channel(connection, self._handle, self._post, followers)
        self._sending = asyncio.Lock()
        options = options or WorkerOptions()
        timeouts = options.silence_timeout, options.progress_timeout
        self._activity = WorkerActivity(process.pid, *timeouts)
        watch = self._watch(min(map(check_interval, timeouts)))
        self._watching = self._loop.create_task(watch, name=f"watch of worker {process.pid}")

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
        name = order.model.name
        try:
            process, connection, followers = await in_daemon_thread(lambda: start_gang(order, context))
        except OSError as error:
            raise WorkerDiedError(
                f"No worker process could be started for '{name}': {error}.",
                hint="Check the limits on memory and processes of this machine.",
                model=name,
            ) from error
        return cls(name, process, connection, listener, order.options, followers)

    @property
    def pid(self) -> int | None:
        """The process id."""
        return self._handle.pid

    @property
    def node(self) -> str:
        """No address, since the process is on this machine."""
        return ""

    @property
    def alive(self) -> bool:
        """Whether the process is not known to have ended."""
        return not self._ended.is_set()

    async def send(self, message: ToWorker, packed: bytes | None = None) -> None:
        """Send a message, or its bytes if it is packed, once those before it are; it does not wait until they are read.

        Where the process has ended, the listener learns it.

        Raises:
            InvalidParameterError: A parameter cannot be sent, such as one that is nested too deeply.
        """
        # In the order of the calls: a worker drops the cancellation of a call that it does not know yet.
        async with self._sending:
            content = packed or await pack_message(message)
            self._activity.note_sent(message)
            self._channel.write(content)

    async def stop(self) -> None:
        """End the process, by force if need be, and wait for its end, but not indefinitely."""
        # Closing the pipe would not reach a worker that is in a call, and would end the thread that receives.
        self._handle.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._ended.wait(), SHUTDOWN_TIMEOUT)
        except asyncio.TimeoutError:
            reason = "did not end when it was asked to"
            logger.warning("Worker process %s %s; it is ended by force", self.pid, reason)
            await self._kill(reason)
        self._stopped = True  # An end that comes later is not reported.
        self._channel.close()

    async def _watch(self, interval: float) -> None:
        """Ping the process regularly; kill it where it has shown no sign of life, or made no progress, for too long."""
        while True:
            await asyncio.sleep(interval)
            if reason := self._activity.check(interval):
                await self._kill(reason)
                return
            if not self._pinged:
                # Not by `send`, which may wait for a thread: where all are busy, the worker would seem to be silent.
                self._pinged = True
                self._channel.write(pack(Ping()))

    async def _kill(self, reason: str) -> None:
        """Kill the process, and wait for its end, but not indefinitely.

        Args:
            reason: Why, in words that follow "Worker process".
        """
        self._kill_reason = reason
        self._handle.signal(SIGKILL)
        try:
            await asyncio.wait_for(self._ended.wait(), SHUTDOWN_TIMEOUT)
        except asyncio.TimeoutError:
            # It hangs in the kernel, as a process may whose device has failed, or a child of it holds the pipe open.
            logger.error("Worker process %s has been killed and does not end", self.pid)  # noqa: TRY400
            self._deliver(None)

    def _post(self, message: FromWorker | None) -> None:
        """Hand a message to the event loop, unless that is closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._deliver, message)

    def _deliver(self, message: FromWorker | None) -> None:
        """Hand a message, or the end of the process, to the listener."""
        if self._ended.is_set():
            return
        if message is None:
            self._ended.set()
            self._channel.write(None)
            self._watching.cancel()
        else:
            self._pinged = False
            self._activity.note_received(message)
        if not (isinstance(message, Alive) or self._stopped):
            self._listener(message or exit_error(self._model, self._handle.exit_code, self._kill_reason))


def exit_error(model: str, exit_code: int | None, kill_reason: str = "") -> OctaboxError:
    """Return the error that states how the worker of a model ended.

    Args:
        model: Name of the model.
        exit_code: Its exit code, negative for a signal; None is not known.
        kill_reason: Why the server killed it, if it did.
    """
    worker = f"The worker process of model '{model}'"
    if kill_reason:
        hint = "The settings `silence_timeout` and `progress_timeout` are the limits."
        return WorkerDiedError(f"{worker} {kill_reason} and was ended.", hint=hint, model=model, hung=True)
    if exit_code == DEVICE_BROKEN:
        return DeviceError(f"The device of model '{model}' failed.", hint="See the log for the cause.", model=model)
    if exit_code == GANG_BROKEN:
        message = f"Another process of those that model '{model}' is split over has failed or ended."
        return WorkerDiedError(message, hint="See the log for the cause.", model=model)
    if exit_code is not None and exit_code < 0:
        hint = "SIGKILL often means that the machine ran out of memory." if -exit_code == SIGKILL else ""
        return WorkerDiedError(f"{worker} was ended by signal {signal_name(-exit_code)}.", hint=hint, model=model)
    how = "for an unknown reason" if exit_code is None else f"with exit code {exit_code}"
    return WorkerDiedError(f"{worker} ended {how}.", hint="See the log for the cause.", model=model)
