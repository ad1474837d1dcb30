"""The worker's end of its pipe."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: Code of a worker that receives these bytes as a message.
LISTEN = """
import multiprocessing
from octabox.engine.worker.process.pipe import Pipe
ours, theirs = multiprocessing.Pipe()
ours.send_bytes({content!r})
if {closes}:
    ours.close()
Pipe(theirs).receive_start()
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


@pytest.mark.slow
def test_a_closed_pipe() -> None:
    """The worker exits without an error if the server is gone."""
    done = listen(b"\x80\x04N.", closes=True)

    assert 0 == done.returncode
    assert "cannot be read" not in done.stderr


#: Code of a worker that is to cancel three calls: one that has run, one that has not, and one that it never had.
CANCEL = """
import multiprocessing, os
from fake_worker import call
from octabox.engine.messages import CancelCall, Ping, RunBatch, RunCall
from octabox.engine.worker.process.pipe import Pipe
ours, theirs = multiprocessing.Pipe()
pipe, calls = Pipe(theirs), (call(), call())
ours.send(RunBatch(calls))
pipe.calls.get()
pipe.forget(calls[0].id)
for each in (calls[0].id, calls[1].id, "never sent"):
    ours.send(CancelCall(each))
ours.send(Ping())
ours.recv()
first = set(pipe.cancelled)
pipe.forget(calls[1].id)
ours.send(RunCall(calls[1]))
pipe.calls.get()
os._exit(not (first == {calls[1].id} and not pipe.cancelled))
"""


def test_a_cancellation_concerns_no_later_call() -> None:
    """One that comes after the end of its call is forgotten, so that another call with its id is not stopped."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert 0 == subprocess.run([sys.executable, "-c", CANCEL], check=False, timeout=60, env=environment).returncode


#: Code of a worker that is pinged before all; it exits with 0 where it answers, and has not imported torch.
PING = """
import multiprocessing, os, sys
from octabox.engine.messages import Alive, Ping
from octabox.engine.worker.process.pipe import Pipe
ours, theirs = multiprocessing.Pipe()
Pipe(theirs)
ours.send(Ping())
os._exit(not (ours.poll(20) and isinstance(ours.recv(), Alive) and "torch" not in sys.modules))
"""


def test_a_ping_is_answered_before_anything_is_imported() -> None:
    """A spawned worker imports for a while before it can load a model."""
    assert 0 == subprocess.run([sys.executable, "-c", PING], check=False, timeout=60).returncode
