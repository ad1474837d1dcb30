"""Stop the backend when its parent process, LocalAI's core, has ended."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

#: Seconds that the backend has to stop after its parent has ended. After that the process exits.
SHUTDOWN_TIMEOUT = 10.0

#: Exit code when the parent has ended.
EXIT_CODE = 1


def watch(
    interval: float, on_exit: Callable[[], object], parent: Callable[[], int] = os.getppid
) -> threading.Thread | None:
    """Start a thread that stops this process when its parent has ended.

    Args:
        interval: Seconds between two checks.
        on_exit: Called once, to stop gracefully.
        parent: Returns the id of the parent process.

    Returns:
        The thread; None if there is no parent.
    """
    pid = parent()
    if pid <= 1:
        return None

    def check() -> None:
        while parent() == pid:
            time.sleep(interval)
        on_exit()
        time.sleep(SHUTDOWN_TIMEOUT)
        os._exit(EXIT_CODE)

    thread = threading.Thread(target=check, name="parent-watch", daemon=True)
    thread.start()
    return thread
