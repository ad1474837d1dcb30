"""The calls of a worker process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
import torch

from fake_worker import LIMIT, PIPELINE, call, model, result
from octabox.engine.messages import (
    Failed,
    Finished,
    Memory,
    RunFinished,
    RunStarted,
    Sleep,
    Start,
    WakeUp,
    WeightsMoved,
    WorkerOptions,
)
from octabox.engine.protocol import Call
from octabox.engine.worker.batches.members import CallEvents
from octabox.engine.worker.process import serving
from octabox.engine.worker.process.encoder import MAX_OUTPUTS, Encoder
from octabox.errors import (
    DeviceError,
    GenerationCancelledError,
    GenerationError,
    OctaboxError,
    OutOfMemoryError,
    WorkerDiedError,
)
from octabox.types import Generation


class FakePipe:
    """A pipe that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.cancelled: set[str] = set()
        self.present: set[str] = set()

    def send(self, message: object) -> None:
        """Keep a message; once the server knows that a call does not run, it may send another one with its id."""
        assert not (isinstance(message, RunFinished) and message.id in self.present)
        self.sent.append(message)

    def forget(self, call_id: str) -> None:
        """Forget a call."""
        self.cancelled.discard(call_id)
        self.present.discard(call_id)

    def fail(self, call_id: str, error: OctaboxError) -> None:
        """Forget a call and keep its error."""
        self.forget(call_id)
        self.sent.append(Failed(call_id, error))


class FakeRunner:
    """A runner whose calls fail; it is its own state, and notes in the pipe when that is restored."""

    pipelines: tuple[()] = ()
    device = "cpu"
    steps_taken = 1
    broken = False
    batches: FakeBatches

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

    def may_batch(self, calls: Sequence[Call]) -> bool:
        """Return whether calls may share a batch."""
        return self.batches.may_batch(calls)

    def take_report(self) -> None:
        """Report nothing."""

    def note_state(self) -> None:
        """Note nothing."""

    def clear_prompt_cache(self) -> None:
        """Release nothing."""

    def run(self, *_: object) -> None:
        """Fail."""
        raise self.error

    def restore(self, _: object) -> None:
        """Note that the state is restored."""
        self.pipe.sent.append("restored")


class MovingRunner(FakeRunner):
    """A runner that moves its weights, or fails to."""

    def __init__(self, pipe: FakePipe, error: OctaboxError | None) -> None:
        super().__init__(pipe, ValueError())
        self.start, self._move_error = Start(model(), PIPELINE, WorkerOptions()), error

    def move_weights(self, _: object) -> None:
        """Move them."""
        if self._move_error:
            raise self._move_error


def test_a_failed_call_restores_the_model_before_it_is_reported() -> None:
    """The next call, which may come once the failure is known, finds the model as it was."""
    pipe, failing = FakePipe(), call()
    pipe.present = {failing.id}
    runner = FakeRunner(pipe, ValueError("The image is too small."))
    usable = serving._run_call(failing, runner, pipe, None)  # type: ignore[arg-type]

    kinds = [message if isinstance(message, str) else type(message).__name__ for message in pipe.sent]
    assert ["RunStarted", "restored", "Memory", "Failed"] == kinds
    assert usable


@pytest.mark.parametrize("error", [None, OutOfMemoryError("It is full.")])
def test_an_answer_states_which_request_it_is_to(error: OctaboxError | None) -> None:
    """Whether the weights could be moved or not."""
    pipe = FakePipe()
    runner = MovingRunner(pipe, error)
    assert all(serving._run_calls(each, runner, pipe, None) for each in (Sleep(4), WakeUp(0, 5)))  # type: ignore[arg-type]

    answers = [each for each in pipe.sent if isinstance(each, WeightsMoved)]
    assert [4, 5] == [each.number for each in answers]
    assert {type(error)} == {type(each.error) for each in answers}


class SlowOutput:
    """The output of a call, whose encoding takes until something happens, and at most some seconds."""

    def __init__(self, of: Call, until: threading.Event) -> None:
        self.call, self._until = of, until

    def encode(self) -> Generation:
        """Wait, and return the result."""
        assert self._until.wait(LIMIT), "the next call did not start"
        return result(self.call)


class TwoRuns(FakeRunner):
    """A runner of two calls: the encoding of the first one ends once the second one runs."""

    def __init__(self, pipe: FakePipe) -> None:
        super().__init__(pipe, ValueError())
        self.batches = FakeBatches(ValueError())
        self.second_runs = threading.Event()

    def run(self, of: Call, *_: object) -> SlowOutput:  # type: ignore[override]
        """Run a call."""
        if any(isinstance(each, RunFinished) for each in self.pipe.sent):
            self.second_runs.set()
        return SlowOutput(of, self.second_runs)


def test_the_next_call_starts_before_the_last_one_is_encoded() -> None:
    """The server knows that the model is free before it has the result, and the next call runs meanwhile."""
    pipe, calls = FakePipe(), [call(), call()]
    pipe.present = {each.id for each in calls}
    runner = TwoRuns(pipe)
    with closing(Encoder()) as encoder:
        for each in calls:
            assert serving._run_calls([each], runner, pipe, encoder)  # type: ignore[arg-type]

    events = [(type(each).__name__, each.id) for each in pipe.sent if not isinstance(each, Memory | str)]  # type: ignore[attr-defined]
    first, second = (each.id for each in calls)
    assert [("RunStarted", first), ("RunFinished", first), ("RunStarted", second)] == events[:3]
    assert {("RunFinished", second), ("Finished", first), ("Finished", second)} == {*events[3:]}
    assert events.index(("Finished", first)) < events.index(("Finished", second))


class Outputs(FakeRunner):
    """A runner whose outputs are encoded once an event is set, and who is told where a call runs."""

    def __init__(self, pipe: FakePipe, encoded: threading.Event) -> None:
        super().__init__(pipe, ValueError())
        self.batches, self._encoded = FakeBatches(ValueError()), encoded
        self.runs = threading.Semaphore(0)

    def run(self, of: Call, *_: object) -> SlowOutput:  # type: ignore[override]
        """Run a call."""
        self.runs.release()
        return SlowOutput(of, self._encoded)


def test_a_model_that_is_faster_than_the_encoding_of_its_outputs_waits() -> None:
    """A few outputs are in memory; the server is not told that the model is free, so that calls wait in its queue."""
    pipe, calls, encoded = FakePipe(), [call() for _ in range(MAX_OUTPUTS + 3)], threading.Event()
    runner = Outputs(pipe, encoded)

    def finished() -> int:
        return sum(isinstance(each, RunFinished) for each in pipe.sent)

    with closing(Encoder()) as encoder:

        def run_all() -> None:
            for each in calls:
                serving._run_calls([each], runner, pipe, encoder)  # type: ignore[arg-type]

        thread = threading.Thread(target=run_all)
        thread.start()
        ran = [runner.runs.acquire(timeout=LIMIT) for _ in range(MAX_OUTPUTS + 1)]
        ran.append(runner.runs.acquire(timeout=0.1))
        ended = finished()
        encoded.set()
        thread.join(LIMIT)

    assert [True] * (MAX_OUTPUTS + 1) + [False] == ran
    assert MAX_OUTPUTS == ended
    assert len(calls) == finished()
    assert len(calls) == sum(isinstance(each, Finished) for each in pipe.sent)


class FakeBatches:
    """Batches that fail, or that are cancelled and report it."""

    def __init__(self, error: Exception, cancelled: Sequence[Call] = ()) -> None:
        self.error, self.cancelled = error, cancelled
        self.failures: list[Exception] = []
        self.alone: Call | None = None

    def may_batch(self, calls: Sequence[Call]) -> bool:
        """Return whether there are several."""
        return len(calls) > 1

    def run(self, calls: Sequence[Call], events: CallEvents) -> Iterator[None]:
        """Drop the cancelled calls, start the others, and fail."""
        for each in self.cancelled:
            assert events.is_cancelled(each)
            events.drop(each)
        for each in [] if self.cancelled else [self.alone] if self.alone else calls:
            events.start(each, 1 if self.alone else len(calls))
        raise self.error
        yield

    def add_failure(self, error: Exception) -> None:
        """Keep an error."""
        self.failures.append(error)

    def take_report(self) -> None:
        """Report nothing."""


def run_calls(
    calls: Sequence[Call], error: Exception, *, cancel: Sequence[Call] = (), alone: Call | None = None
) -> tuple[FakePipe, FakeBatches, bool]:
    """Run calls whose batch fails; return what was sent, and whether the worker is usable."""
    pipe = FakePipe()
    pipe.cancelled, pipe.present = {each.id for each in cancel}, {each.id for each in calls}
    runner = FakeRunner(pipe, ValueError("The image is too small."))
    batches = FakeBatches(error, cancel)
    batches.alone = alone
    runner.batches = batches
    usable = serving._run_calls(calls, runner, pipe, None)  # type: ignore[arg-type]
    return pipe, batches, usable


def test_the_calls_of_a_failed_batch_run_singly() -> None:
    """The model is restored, the size is reported as too large, and each call gets its own outcome."""
    calls = [call(), call()]
    pipe, batches, usable = run_calls(calls, RuntimeError("The shapes differ."))
    failed = [message.id for message in pipe.sent if isinstance(message, Failed)]
    kinds = [message if isinstance(message, str) else type(message).__name__ for message in pipe.sent]

    single = ["RunStarted", "restored", "Memory", "Failed"]
    assert ["RunStarted", "RunStarted", "restored", "Memory", *single, *single] == kinds
    assert [2, 2, 1, 1] == [message.members for message in pipe.sent if isinstance(message, RunStarted)]
    assert [each.id for each in calls] == failed
    assert 1 == len(batches.failures)
    assert usable


def test_a_call_that_ran_out_of_memory_alone_is_not_repeated() -> None:
    """It gets the error, since no memory mode is left for it; the others run."""
    calls = [call(), call()]
    pipe, _, usable = run_calls(calls, torch.OutOfMemoryError("CUDA out of memory."), alone=calls[0])
    failed = {message.id: message.error for message in pipe.sent if isinstance(message, Failed)}
    started = [message.id for message in pipe.sent if isinstance(message, RunStarted)]

    assert isinstance(failed[calls[0].id], OutOfMemoryError)
    assert not isinstance(failed[calls[1].id], OutOfMemoryError)
    assert [calls[0].id, calls[1].id] == started
    assert usable


def test_a_batch_that_is_cancelled_is_not_repeated() -> None:
    """Its calls are reported as cancelled, and the size is not at fault."""
    calls = [call(), call()]
    pipe, batches, usable = run_calls(calls, GenerationCancelledError("enough"), cancel=calls)
    failed = [message for message in pipe.sent if isinstance(message, Failed)]

    assert [each.id for each in calls] == [message.id for message in failed]
    assert all(isinstance(message.error, GenerationCancelledError) for message in failed)
    assert [] == batches.failures
    assert set() == pipe.cancelled == pipe.present
    assert usable


@pytest.mark.parametrize("alone", [False, True])
def test_a_device_that_fails_in_a_batch_fails_only_a_call_that_ran_alone(*, alone: bool) -> None:
    """Any member may be the cause, and some have not run: the server runs them again. The worker is to end."""
    calls = [call(), call()]
    pipe, _, usable = run_calls(calls, DeviceError("It is gone.", model="demo"), alone=calls[0] if alone else None)

    assert [calls[0].id] * alone == [message.id for message in pipe.sent if isinstance(message, Failed)]
    assert not usable


@pytest.mark.parametrize("alone", [False, True])
def test_a_device_that_is_not_usable_after_a_batch_likewise(monkeypatch: pytest.MonkeyPatch, *, alone: bool) -> None:
    """Whatever was raised."""
    monkeypatch.setattr(serving, "is_usable", lambda _: False)
    calls = [call(), call()]
    pipe, _, usable = run_calls(calls, RuntimeError("What?"), alone=calls[0] if alone else None)

    assert [calls[0].id] * alone == [message.id for message in pipe.sent if isinstance(message, Failed)]
    assert not usable


@pytest.mark.parametrize("error", [WorkerDiedError("Another process has ended."), GenerationError("It failed alone.")])
def test_a_broken_worker_reports_only_what_has_failed_in_itself(error: OctaboxError) -> None:
    """A call that another process of the model has ended in runs again, as the server does where a worker ends."""
    pipe, failing = FakePipe(), call()
    runner = FakeRunner(pipe, error)
    runner.broken = True
    with closing(Encoder()) as encoder:
        goes_on = serving._run_call(failing, runner, pipe, encoder)  # type: ignore[arg-type]

    assert not goes_on
    assert ([] if isinstance(error, WorkerDiedError) else [error]) == [
        each.error for each in pipe.sent if isinstance(each, Failed)
    ]
    assert "restored" not in pipe.sent
