"""What small processes do in the place of workers, to test the pipe to a process and its end without a model."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

from octabox.engine.messages import Alive, CancelCall, Memory, Ping, RunCall, RunStarted


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


def repeat(connection: Connection) -> None:
    """Answer each call and each cancelled one by its id, until the pipe closes."""
    try:
        while True:
            message = connection.recv()
            connection.send(RunStarted(message.call.id if isinstance(message, RunCall) else message.id))
    except (EOFError, OSError):
        return


def ignore(connection: Connection) -> None:
    """Ignore the signal to end, and every message."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection.send(Memory())
    time.sleep(600)


def compute_then_wait(connection: Connection) -> None:
    """Hold Python's lock in a library's function: for 2 seconds of CPU time, then without using any."""
    connection.send(Memory())
    library = ctypes.PyDLL(None)
    end = time.process_time() + 2
    while time.process_time() < end:
        library.strncmp(b"a" * 10_000_000, b"a" * 10_000_000, 10_000_000)
    library.sleep(600)


def write_half(connection: Connection) -> None:
    """Send the first half of a message, and start a process that holds the pipe open; then wait."""
    os.write(connection.fileno(), (1000).to_bytes(4, "big") + b"half")
    if os.fork() == 0:
        os.close(1)
        time.sleep(20)
        os._exit(0)
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
