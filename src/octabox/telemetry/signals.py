"""The names of signals, for messages and the log."""

from __future__ import annotations

import signal


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGKILL; its number if it has none, as most real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
