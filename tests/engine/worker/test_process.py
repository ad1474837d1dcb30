"""The worker's end of its pipe."""

from __future__ import annotations

import subprocess
import sys

#: Code of a worker that receives these bytes as a message.
LISTEN = """
import multiprocessing
from octabox.engine.worker.process import Pipe
ours, theirs = multiprocessing.Pipe()
ours.send_bytes({content!r})
if {closes}:
    ours.close()
Pipe(theirs)._receive()
"""


def listen(content: bytes, *, closes: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a process that receives these bytes."""
    code = LISTEN.format(content=content, closes=closes)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


def test_invalid_messages() -> None:
    """The worker logs an invalid message and exits."""
    done = listen(b"no message")

    assert 1 == done.returncode
    assert "cannot be read" in done.stderr


def test_a_closed_pipe() -> None:
    """The worker exits without an error if the server is gone."""
    done = listen(b"\x80\x04N.", closes=True)

    assert 0 == done.returncode
    assert "cannot be read" not in done.stderr
