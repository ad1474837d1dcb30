"""The follower's end of the pipe to its leader: decisions belong to the call that they are sent for."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys

import pytest

from fake_worker import call
from octabox.engine.worker.gang.follower import LeaderPipe, cancelled
from octabox.engine.worker.gang.messages import Decision, Outcome, describe_cause
from octabox.errors import GenerationCancelledError, GenerationError


def test_decisions_belong_to_their_call() -> None:
    """What was decided for a call that has failed here earlier does not end the next one."""
    ours, theirs = multiprocessing.Pipe()
    pipe = LeaderPipe(theirs, lambda _: None)
    first, second = call(), call()
    for message in (first, Decision(cancelled=False), Decision(cancelled=True), second, Decision(cancelled=False)):
        ours.send(message)
    ordered, following = pipe.calls.get(), pipe.calls.get()

    following.check()
    ordered.check()
    with pytest.raises(GenerationCancelledError) as raised:
        ordered.check()
    assert first.id == ordered.call.id
    assert describe_cause(raised.value) == describe_cause(cancelled(first))


def test_an_error_that_cannot_be_sent_is_one_of_ours() -> None:
    """The leader gets its message."""

    class LocalError(GenerationError):
        """An error of a class that no other process has."""

    ours, theirs = multiprocessing.Pipe()
    LeaderPipe(theirs, lambda _: None).send(Outcome(LocalError("It failed.", model="m"), "cause"))
    outcome = ours.recv()

    assert (GenerationError, "It failed.", "cause") == (type(outcome.error), str(outcome.error), outcome.cause)


def test_a_follower_ends_with_the_pipe() -> None:
    """Whatever it does at that moment: the thread that reads ends the process."""
    code = """if True:
        import multiprocessing, time
        from octabox.engine.worker.gang.follower import LeaderPipe
        ours, theirs = multiprocessing.Pipe()
        pipe = LeaderPipe(theirs)
        ours.close()
        time.sleep(60)
        raise SystemExit(1)
    """
    assert 0 == subprocess.run([sys.executable, "-c", code], timeout=50, check=False).returncode


def test_a_cancelled_call_is_named() -> None:
    """As by the leader."""
    made = cancelled(call("demo"))

    assert ("The request was cancelled.", "demo") == (made.message, made.model)
