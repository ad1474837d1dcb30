"""The calls of a worker process."""

from __future__ import annotations

from fake_worker import call
from octabox.engine.messages import Failed, Memory
from octabox.engine.worker.process import serving
from octabox.errors import OctaboxError


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

    @property
    def modes(self) -> FakeRunner:
        """What measures the memory."""
        return self

    def memory(self) -> Memory:
        """Measure nothing."""
        return Memory()

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
    usable = serving._run_call(call(), runner, pipe, None)  # type: ignore[arg-type]

    kinds = [message if isinstance(message, str) else type(message).__name__ for message in pipe.sent]
    assert ["RunStarted", "restored", "Memory", "Failed"] == kinds
    assert usable
