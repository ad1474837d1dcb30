"""The worker's end of the pipe to the server, which answers from the first moment on: nothing here imports torch."""

from __future__ import annotations

import logging
import os
import queue
import threading
from multiprocessing.connection import Connection

from octabox.engine.messages import Alive, CancelCall, Failed, FromWorker, Ping, RunBatch, RunCall, Sleep, Start, WakeUp
from octabox.engine.protocol import Call
from octabox.errors import GenerationError, OctaboxError

logger = logging.getLogger("octabox.worker")


class Pipe:
    """The worker's end of its pipe: any thread may send, one thread receives.

    Args:
        connection: The connection to the server.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection, self._writing = connection, threading.Lock()
        self._starts: queue.SimpleQueue[Start] = queue.SimpleQueue()
        #: Calls to run, and requests to move the weights.
        self.calls: queue.SimpleQueue[tuple[Call, ...] | Sleep | WakeUp] = queue.SimpleQueue()
        #: The ids of those that are to end, of the calls that wait or run here.
        self.cancelled: set[str] = set()
        self._present: set[str] = set()
        self._noting = threading.Lock()
        threading.Thread(target=self._receive, name="pipe", daemon=True).start()

    def send(self, message: FromWorker) -> None:
        """Send a message to the server, or exit if it is gone."""
        try:
            with self._writing:
                self._connection.send(message)
        except OSError:
            os._exit(0)

    def fail(self, call_id: str, error: OctaboxError) -> None:
        """Forget a call and send its error, or only the message of one that cannot be pickled."""
        self.forget(call_id)
        try:
            self.send(Failed(call_id, error))
        except Exception:
            logger.exception("An error of class %s cannot be sent", type(error).__name__)
            self.send(Failed(call_id, GenerationError(str(error), model=error.model)))

    def forget(self, call_id: str) -> None:
        """Forget a call, which does not run any more; before the server knows, since it may send another one with its id."""
        with self._noting:
            self._present.discard(call_id)
            self.cancelled.discard(call_id)

    def receive_start(self) -> Start:
        """Wait for the first message."""
        return self._starts.get()

    def _add(self, calls: tuple[Call, ...]) -> None:
        with self._noting:
            self._present.update(call.id for call in calls)
        self.calls.put(calls)

    def _cancel(self, call_id: str) -> None:
        """Note that a call is to end, unless it has run: its outputs may be being encoded, or delivered already."""
        with self._noting:
            if call_id in self._present:
                self.cancelled.add(call_id)

    def _receive(self) -> None:
        try:
            while True:
                message = self._connection.recv()
                if isinstance(message, Start):
                    self._starts.put(message)
                elif isinstance(message, RunCall):
                    self._add((message.call,))
                elif isinstance(message, RunBatch):
                    self._add(message.calls)
                elif isinstance(message, Sleep | WakeUp):
                    self.calls.put(message)
                elif isinstance(message, CancelCall):
                    self._cancel(message.id)
                elif isinstance(message, Ping):
                    self.send(Alive())
        except (EOFError, OSError):
            os._exit(0)  # The server is gone or has closed the pipe; the result of a running call is not needed.
        except Exception:
            # The server would wait forever for an answer.
            logger.exception("A message of the server cannot be read")
            os._exit(1)
