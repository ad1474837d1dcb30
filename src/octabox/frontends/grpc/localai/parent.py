"""End the backend when the process that started it has ended: LocalAI's core, without which nobody would call it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

#: Seconds that the backend has to end by itself once its parent is gone; then it is ended.
SHUTDOWN_TIMEOUT = 10.0

#: Exit code of a process whose parent has ended.
EXIT_CODE = 1


def watch(
    interval: float, end: Callable[[], object], parent: Callable[[], int] = os.getppid
) -> threading.Thread | None:
    """Watch the parent process, and end this one when it has ended.

    Args:
        interval: Seconds between two looks.
        end: Called once, to end in good order.
        parent: Returns the number of the parent process.

    Returns:
        The thread that watches; None where there is no parent to watch.
    """
    first = parent()
    if first <= 1:
        return None

    def look() -> None:
        while parent() == first:
            time.sleep(interval)
        end()
        time.sleep(SHUTDOWN_TIMEOUT)
        os._exit(EXIT_CODE)

    thread = threading.Thread(target=look, name="watch of the parent process", daemon=True)
    thread.start()
    return thread
