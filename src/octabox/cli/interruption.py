"""Ctrl-C: one line, exit code 130, and the end of the process within a second, whatever it is doing."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

#: Exit code of a process that was interrupted.
EXIT_CODE = 130

#: Seconds in which a process may close what it has open.
DEADLINE = 0.8

#: Makes the cursor visible, which a progress bar hides.
SHOW_CURSOR = "\x1b[?25h"

_written: list[Path] = []
_interrupted = threading.Event()
_reported = threading.Event()


def install() -> None:
    """Handle Ctrl-C from now on, also during imports."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)


def extend_handler() -> None:
    """Limit the time that the current handler of Ctrl-C takes; a server has a handler that stops it."""
    handler = signal.getsignal(signal.SIGINT)

    def interrupt(number: int, frame: FrameType | None) -> None:
        _begin()
        if callable(handler):
            handler(number, frame)

    signal.signal(signal.SIGINT, interrupt)


def was_interrupted() -> bool:
    """Return whether Ctrl-C was pressed."""
    return _interrupted.is_set()


def note_written(path: Path) -> None:
    """Note a result that has been written, for the line that is printed."""
    _written.append(path)


def report() -> None:
    """Print that the process was interrupted, and what it has written, and end its fork server; once."""
    if _reported.is_set():
        return
    _reported.set()
    written = f" Written: {', '.join(map(str, _written))}." if _written else ""
    cursor = SHOW_CURSOR if os.isatty(2) else ""
    # Not by a buffered stream, which the signal may have interrupted.
    os.write(2, f"{cursor}Interrupted.{written}\n".encode(errors="replace"))
    # The fork server would import to its end. Other processes end when their pipes close.
    if "octabox.engine.local.processes.forkserver" in sys.modules:
        sys.modules["octabox.engine.local.processes.forkserver"].end_fork_server()


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (a handler's signature)
    """Unwind the main thread."""
    # Cancelled tasks would log their errors.
    logging.disable(logging.CRITICAL)
    _begin()
    raise KeyboardInterrupt


def _begin() -> None:
    """Start the time limit; a second Ctrl-C ends the process immediately."""
    if _interrupted.is_set():
        _end()
    _interrupted.set()
    timer = threading.Timer(DEADLINE, _end)
    timer.daemon = True
    timer.start()


def _end() -> None:
    """End the process."""
    report()
    os._exit(EXIT_CODE)
