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
        self.cancelled: set[str] = set()
        threading.Thread(target=self._receive, name="pipe", daemon=True).start()

    def send(self, message: FromWorker) -> None:
        """Send a message to the server, or exit if it is gone."""
        try:
            with self._writing:
                self._connection.send(message)
        except OSError:
            os._exit(0)

    def fail(self, call_id: str, error: OctaboxError) -> None:
        """Send the error of a call, or only its message if it cannot be pickled."""
        try:
            self.send(Failed(call_id, error))
        except Exception:
            logger.exception("An error of class %s cannot be sent", type(error).__name__)
            self.send(Failed(call_id, GenerationError(str(error), model=error.model)))

    def receive_start(self) -> Start:
        """Wait for the first message."""
        return self._starts.get()

    def _receive(self) -> None:
        try:
            while True:
                message = self._connection.recv()
                if isinstance(message, Start):
                    self._starts.put(message)
                elif isinstance(message, RunCall):
                    self.calls.put((message.call,))
                elif isinstance(message, RunBatch):
                    self.calls.put(message.calls)
                elif isinstance(message, Sleep | WakeUp):
                    self.calls.put(message)
                elif isinstance(message, CancelCall):
                    self.cancelled.add(message.id)
                elif isinstance(message, Ping):
                    self.send(Alive())
        except (EOFError, OSError):
            os._exit(0)  # The server is gone or has closed the pipe; the result of a running call is not needed.
        except Exception:
            # The server would wait forever for an answer.
            logger.exception("A message of the server cannot be read")
            os._exit(1)
