"""The names of signals."""

import signal

from octabox.telemetry.signals import signal_name


def test_each_number_has_a_name() -> None:
    """Also that of a real-time signal, which Python does not name."""
    assert ["SIGKILL", "40"] == [signal_name(each) for each in (signal.SIGKILL, 40)]
