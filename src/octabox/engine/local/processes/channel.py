"""The server's end of the pipe to a worker process: messages as bytes, a thread that writes them, and one that reads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

from octabox.engine.local.processes.starting import SIGKILL, ProcessHandle
from octabox.engine.messages import FromWorker, RunBatch, RunCall, ToWorker
from octabox.errors import InvalidParameterError

logger = logging.getLogger("octabox.engine")

#: Types of parameters that take no time to pack; the size of a text is limited by that of a request.
_SMALL = (str, int, float, bool, type(None))


class Channel:
    """Writes to the pipe of a process and reads from it, without making anyone wait.

    Args:
        connection: The server's end of the pipe.
        handle: The process.
        on_message: Called in a thread with each message, and with None once the process has ended and all are read.
        followers: Other processes, which end with that process, and whose end is waited for as well.
    """

    def __init__(
        self,
        connection: Connection,
        handle: ProcessHandle,
        on_message: Callable[[FromWorker | None], None],
        followers: Sequence[ProcessHandle] = (),
    ) -> None:
        self._connection, self._handle, self._on_message = connection, handle, on_message
        self._followers = followers
        # A pipe that is not read may be full: only a thread of its own waits for it.
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        for function in (self._receive, self._write):
            threading.Thread(target=function, name=f"pipe of worker {handle.pid}", daemon=True).start()

    def write(self, content: bytes | None) -> None:
        """Write a message as soon as those before it are read; None ends the thread."""
        self._outbox.put(content)

    def close(self) -> None:
        """Close the pipe."""
        self._connection.close()

    def _write(self) -> None:
        """Write all messages, until the process has ended; runs in a thread."""
        while (content := self._outbox.get()) is not None:
            with contextlib.suppress(OSError):
                self._connection.send_bytes(content)

    def _receive(self) -> None:
        """Hand over all messages, then the end of the process; runs in a thread."""
        try:
            while self._wait_for_message():
                self._on_message(self._connection.recv())
        except (EOFError, OSError):
            pass
        except Exception:
            # A message that cannot be read may be one that a request waits for.
            logger.exception("A message of worker process %s cannot be read; it is ended", self._handle.pid)
            self._handle.signal(SIGKILL)
        for each in (self._handle, *self._followers):
            each.join()
        self._on_message(None)

    def _wait_for_message(self) -> bool:
        """Wait for a message; return False once the process has ended and all its messages are read."""
        return self._connection in wait([self._connection, self._handle.sentinel]) or self._connection.poll()


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


async def pack_message(message: ToWorker) -> Any:
    """Return a message as bytes, made in a thread where that may take time.

    A thread takes longer than a small message, most of all on a busy machine.

    Raises:
        InvalidParameterError: A parameter of the call cannot be sent.
    """
    return pack(message) if _is_small(message) else await asyncio.to_thread(pack, message)


def _is_small(message: ToWorker) -> bool:
    """Return whether a message has neither media nor nested values."""
    calls = message.calls if isinstance(message, RunBatch) else (message.call,) if isinstance(message, RunCall) else ()
    runs = [run for call in calls for run in call.runs]
    return not any(run.inputs or not all(isinstance(value, _SMALL) for value in run.params.values()) for run in runs)


def _can_pack(value: Any) -> bool:
    """Return whether a value can be sent."""
    try:
        ForkingPickler.dumps(value)
    except Exception:  # noqa: BLE001 (a class may raise anything)
        return False
    return True
