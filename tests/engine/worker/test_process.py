"""The worker's end of its pipe."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fake_worker import call
from octabox.engine.messages import Failed
from octabox.engine.worker import process
from octabox.errors import OctaboxError

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


@pytest.mark.slow
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


class FakePipe:
    """A pipe that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.cancelled: set[str] = set()

    def send(self, message: object) -> None:
        """Keep a message."""
        self.sent.append(message)

    def fail(self, call_id: str, error: OctaboxError) -> None:
        """Keep an error."""
        self.sent.append(Failed(call_id, error))


class FakeRunner:
    """A runner whose calls fail; it is its own state, and notes in the pipe when that is restored."""

    pipelines: tuple[()] = ()
    device = "cpu"
    steps_taken = 1

    def __init__(self, pipe: FakePipe, error: Exception) -> None:
        self.pipe, self.error = pipe, error

    @property
    def state(self) -> FakeRunner:
        """What is restored after a failure."""
        return self

    def note_state(self) -> None:
        """Note nothing."""

    def run(self, *_: object) -> None:
        """Fail."""
        raise self.error

    def restore(self, _: object) -> None:
        """Note that the state is restored."""
        self.pipe.sent.append("restored")


def test_a_failed_call_restores_the_model_before_it_is_reported() -> None:
    """The next call, which may come once the failure is known, finds the model as it was."""
    pipe = FakePipe()
    runner = FakeRunner(pipe, ValueError("The image is too small."))
    usable = process._run_call(call(), runner, pipe, None)  # type: ignore[arg-type]

    kinds = [message if isinstance(message, str) else type(message).__name__ for message in pipe.sent]
    assert ["RunStarted", "restored", "Memory", "Failed"] == kinds
    assert usable
