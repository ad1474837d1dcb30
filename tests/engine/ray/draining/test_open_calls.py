"""What a worker accepts, and when it has no calls left."""

from __future__ import annotations

from fake_worker import call
from octabox.engine.messages import CancelCall, Failed, Finished, RunBatch, RunCall, RunFinished
from octabox.engine.ray.draining.open_calls import OpenCalls
from octabox.errors import GenerationError, WorkerDiedError
from octabox.types import Generation


def test_a_worker_is_drained_once_its_results_are_there() -> None:
    """A run that has ended still has outputs to be encoded; those of a batch end one by one, some with errors."""
    calls, sent = OpenCalls(), [call() for _ in range(3)]
    assert calls.accept(RunCall(sent[0]))
    assert calls.accept(RunBatch((sent[1], sent[2])))
    calls.draining = True
    for each in sent:
        calls.note(RunFinished(each.id))
    assert not calls.drained
    calls.note(Finished(sent[0].id, Generation(sent[0].id, "demo", "P", "t", ())))
    calls.note(Failed(sent[1].id, GenerationError("Bad.")))
    assert (False, 1) == (calls.drained, len(calls))
    calls.note(Failed(sent[2].id, GenerationError("Bad.")))

    assert calls.drained


def test_a_worker_that_drains_accepts_no_calls() -> None:
    """Whatever is about those that it has reaches it, such as a cancellation."""
    calls, first, late = OpenCalls(), call(), call()
    calls.accept(RunCall(first))
    calls.draining = True

    assert not calls.accept(RunCall(late))
    assert not calls.accept(RunBatch((late,)))
    assert calls.accept(CancelCall(first.id))
    assert 1 == len(calls)


def test_the_end_of_a_worker_ends_its_calls() -> None:
    """Nothing is waited for that nobody runs."""
    calls = OpenCalls()
    calls.accept(RunCall(call()))
    calls.draining = True
    calls.note(WorkerDiedError("It was killed."))

    assert calls.drained
