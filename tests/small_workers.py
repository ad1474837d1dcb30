"""What small processes do in the place of workers, to test the pipe to a process and its end without a model."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

from octabox.engine.messages import Alive, CancelCall, Memory, Ping, RunStarted


def echo(connection: Connection) -> None:
    """Answer pings, and each cancelled call by its id, until the pipe closes."""
    try:
        while True:
            message = connection.recv()
            if isinstance(message, Ping):
                connection.send(Alive())
            elif isinstance(message, CancelCall):
                connection.send(RunStarted(message.id))
    except (EOFError, OSError):
        return


def ignore(connection: Connection) -> None:
    """Ignore the signal to end, and every message."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection.send(Memory())
    time.sleep(600)


def garble(connection: Connection) -> None:
    """Send what is not a message, and go on."""
    connection.send_bytes(b"no message")
    time.sleep(600)


def report(connection: Connection) -> None:
    """Send two messages, and end."""
    connection.send(RunStarted("one"))
    connection.send(RunStarted("two"))


def fail(connection: Connection) -> None:
    """End with an exit code."""
    connection.close()
    os._exit(3)


def wait(connection: Connection) -> None:
    """Send nothing until the pipe closes."""
    connection.poll(600)


def is_running(pid: int | None) -> bool:
    """Return whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
