"""A worker's end of the pipe to its server."""

from __future__ import annotations

import subprocess
import sys

#: A worker's end that gets these bytes in place of a message.
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
    """Let a process read these bytes."""
    code = LISTEN.format(content=content, closes=closes)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


def test_a_message_that_cannot_be_read_ends_the_worker() -> None:
    """Nobody waits for an answer that never comes: the process ends, and says why."""
    done = listen(b"no message")

    assert 1 == done.returncode
    assert "cannot be read" in done.stderr


def test_a_closed_pipe_ends_the_worker() -> None:
    """Without its server a worker has nothing left to do, and nothing to say."""
    done = listen(b"\x80\x04N.", closes=True)

    assert 0 == done.returncode
    assert "cannot be read" not in done.stderr
