"""The server's end of one worker process: start it, talk to it, notice its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

from octabox.engine.forkserver import worker_context
from octabox.engine.messages import DEVICE_BROKEN, FromWorker, RunCall, Start, ToWorker
from octabox.engine.worker.entry import work
from octabox.errors import DeviceError, InvalidParameterError, OctaboxError, WorkerDiedError

logger = logging.getLogger("octabox.engine")

#: Exit code that multiprocessing makes up for a process whose fork server has ended.
FORK_SERVER_LOST = 255

#: The signal that no process can ignore; Windows knows one signal that ends a process.
SIGKILL = getattr(signal, "SIGKILL", signal.SIGTERM)

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
        self._reason, self._gone = "", False
        loop = asyncio.get_running_loop()

        def deliver(message: FromWorker | None) -> None:
            if message is None:
                self._ended.set()
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
            process = await _in_daemon_thread(fork)
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
        content = _packed(message)
        with contextlib.suppress(OSError), self._writing:
            self._connection.send_bytes(content)

    async def stop(self) -> None:
        """End the process, by force if it does not hear, and wait until it is gone, but not for ever."""
        # A worker that is in a call hears nothing of a closed pipe's politeness: closing it makes its listener thread exit.
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._ended.wait(), GRACE)
        except asyncio.TimeoutError:
            await self.kill("did not end when it was told to")
        self._connection.close()

    async def kill(self, reason: str) -> None:
        """End the process by force, and wait until it is gone, but not for ever.

        Args:
            reason: Why, in words that follow "The worker process".
        """
        logger.warning("Worker process %s %s; it is ended by force", self.pid, reason)
        self._reason = reason
        self._signal(SIGKILL)
        try:
            await asyncio.wait_for(self._ended.wait(), GRACE)
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
                waited = [
                    self._connection
                ]  # Only its fork server has ended; from now on the pipe alone reports its end.
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
        self._process.join(GRACE)
        if self._lives():
            self._signal(SIGKILL)
            self._process.join(GRACE)
        self._gone = True

    def epitaph(self, model: str) -> OctaboxError:
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


async def _in_daemon_thread(start: Callable[[], BaseProcess]) -> BaseProcess:
    """Start a process in a thread that the end of the server does not wait for, since a fork server may never answer.

    A process that is there only after nobody waits for it any more ends by itself: its pipe is closed.
    """
    loop = asyncio.get_running_loop()
    started: asyncio.Future[BaseProcess] = loop.create_future()

    def settle(process: BaseProcess | None, error: BaseException | None) -> None:
        if not started.done() and error is not None:
            started.set_exception(error)
        elif not started.done() and process is not None:
            started.set_result(process)

    def run() -> None:
        try:
            outcome: tuple[BaseProcess | None, BaseException | None] = start(), None
        except Exception as error:  # noqa: BLE001 (it is raised where the process is awaited)
            outcome = None, error
        with contextlib.suppress(RuntimeError):  # The loop has ended.
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="start of a worker", daemon=True).start()
    return await started


def _packed(message: ToWorker) -> Any:
    """Return a message as bytes.

    Raises:
        InvalidParameterError: It holds a parameter that cannot be sent.
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
    except Exception:  # noqa: BLE001 (classes raise what they like)
        return False
    return True


def _post(loop: asyncio.AbstractEventLoop, deliver: Listener, message: FromWorker | None) -> None:
    """Hand a message to the event loop; at its end nobody listens any more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(deliver, message)
