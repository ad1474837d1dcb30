"""Whether a process shows signs of life: the messages that it sends, and the CPU time that it uses.

Time is counted in checks, not taken from a clock: where the server itself was suspended, no process has been silent.
"""

from __future__ import annotations

import os
from pathlib import Path

from octabox.engine.messages import Alive, Failed, Finished, FromWorker, RunBatch, RunCall, ToWorker

#: Seconds that a process has to end by itself before it is killed, and then to be gone.
SHUTDOWN_TIMEOUT = 5.0

#: Seconds without a sign of life after which a process is ended, unless a setting states others.
SILENCE_TIMEOUT = 60.0

#: Most seconds between two checks.
CHECK_INTERVAL = 5.0


def check_interval(timeout: float) -> float:
    """Return the seconds between two checks of a process that may be silent for ``timeout`` seconds; 0 is no limit."""
    return min(CHECK_INTERVAL, timeout / 4) if timeout else CHECK_INTERVAL


def cpu_seconds(pid: int | None) -> float | None:
    """Return the CPU time that a process has used; None where the system does not report it, or it has ended."""
    try:
        # The name of the program, in brackets, may contain spaces.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError, AttributeError):
        return None


class Silence:
    """For how long a process has shown no sign of life.

    A thread that holds Python's lock, as in a long call of a library, keeps a process from answering, but uses CPU time.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int | None) -> None:
        self._pid, self._cpu = pid, cpu_seconds(pid)
        self.seconds = 0.0

    def end(self) -> None:
        """Note a sign of life."""
        self.seconds = 0.0

    def count(self, seconds: float) -> float:
        """Add the time since the last check, unless CPU time was used in it; return how long the silence is now."""
        cpu = cpu_seconds(self._pid)
        self.seconds = self.seconds + seconds if cpu == self._cpu else 0.0
        self._cpu = cpu
        return self.seconds


class WorkerActivity:
    """What a worker is doing, and for how long it has shown no sign of life, or made no progress with its calls.

    Args:
        pid: Its process.
        silence_timeout: Seconds without a sign of life until it is to be ended; 0 is no limit.
        progress_timeout: Seconds without progress of a call until it is to be ended; 0 is no limit.
    """

    def __init__(self, pid: int | None, silence_timeout: float, progress_timeout: float) -> None:
        self._silence = Silence(pid)
        self._silence_timeout, self._progress_timeout = silence_timeout, progress_timeout
        self._calls: set[str] = set()
        self._stalled = 0.0

    def note_sent(self, message: ToWorker) -> None:
        """Note a message to the worker."""
        if isinstance(message, RunCall | RunBatch):
            self._stalled = 0.0
            calls = message.calls if isinstance(message, RunBatch) else (message.call,)
            self._calls.update(call.id for call in calls)

    def note_received(self, message: FromWorker) -> None:
        """Note a message of the worker; any is a sign of life, and any but the answer to a ping is progress."""
        self._silence.end()
        if not isinstance(message, Alive):
            self._stalled = 0.0
        if isinstance(message, Finished | Failed):
            self._calls.discard(message.id)

    def check(self, seconds: float) -> str:
        """Count the time since the last check; return why the worker is to be ended, or nothing.

        Returns:
            The reason, in words that follow "Worker process".
        """
        silent = self._silence.count(seconds)
        self._stalled = self._stalled + seconds if self._calls else 0.0
        if self._silence_timeout and silent >= self._silence_timeout:
            return f"gave no sign of life for {silent:.0f} seconds"
        if self._progress_timeout and self._stalled >= self._progress_timeout:
            return f"made no progress for {self._stalled:.0f} seconds"
        return ""
