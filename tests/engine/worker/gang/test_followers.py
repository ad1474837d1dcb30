"""The leader of a gang, with followers that answer by hand: which failures all have in common, and which end the gang."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, cast

import pytest

from octabox.engine.exit_codes import GANG_BROKEN
from octabox.engine.messages import Memory
from octabox.engine.protocol import Call
from octabox.engine.worker.gang import followers
from octabox.engine.worker.gang.leader import Gang
from octabox.engine.worker.gang.messages import Decision, Outcome, describe_cause
from octabox.errors import GenerationError, OctaboxError, OutOfMemoryError, WorkerDiedError

#: The call; the leader does not look at it.
CALL = cast("Call", "the call")


@pytest.fixture
def pipes() -> Iterator[list[tuple[Connection, Connection]]]:
    """Return the pipes to two followers: the leader's ends, and theirs."""
    made = [multiprocessing.Pipe() for _ in range(2)]
    yield made
    for _, theirs in made:
        theirs.close()
    # A thread that still receives would read from the pipe of the next test, which gets the same descriptor.
    for thread in threading.enumerate():
        if thread.name.startswith("pipe to follower"):
            thread.join(10)
    for ours, _ in made:
        ours.close()


def gang_of(pipes: list[tuple[Connection, Connection]], exit_process: Callable[[int], None] = lambda _: None) -> Gang:
    """Return a gang of these followers, whose leader is this process."""
    return Gang([ours for ours, _ in pipes], exit_process)


def fail_with(error: Exception) -> Any:
    """Return what fails so."""

    def run() -> None:
        raise error

    return run


def ignore(_error: OctaboxError) -> None:
    """Report nothing."""


def answer(pipes: list[tuple[Connection, Connection]], *outcomes: Outcome) -> None:
    """Let each follower answer."""
    for (_, theirs), outcome in zip(pipes, outcomes, strict=True):
        theirs.send(outcome)


def failed(error: Exception, known: OctaboxError | None = None) -> Outcome:
    """Return the outcome of a follower that has failed."""
    return Outcome(known or GenerationError("It failed.", model="m"), describe_cause(error))


def test_a_worker_without_followers_runs_alone() -> None:
    """Nothing is sent or waited for."""
    gang = Gang()

    assert not gang
    assert 7 == gang.run(CALL, lambda: 7, ignore)
    assert not gang.decide(cancelled=False)


def test_all_followers_run_the_call_and_its_result_is_the_leaders(pipes: list[tuple[Connection, Connection]]) -> None:
    """Each gets the call and the decisions, in their order; their memory counts."""
    gang = gang_of(pipes)

    def run() -> int:
        gang.decide(cancelled=False)
        gang.decide(cancelled=True)
        answer(
            pipes,
            *(Outcome(memory=Memory({"host": 2, f"cuda:{rank}": 5}, peak={f"cuda:{rank}": 6})) for rank in (1, 2)),
        )
        return 7

    assert 7 == gang.run(CALL, run, ignore)
    for _, theirs in pipes:
        assert ["the call", Decision(cancelled=False), Decision(cancelled=True)] == [theirs.recv() for _ in range(3)]
    memory = gang.memory(Memory({"host": 1, "cuda:0": 4}, mode="full"))
    assert {"host": 5, "cuda:0": 4, "cuda:1": 5, "cuda:2": 5} == memory.bytes
    assert {"cuda:1": 6, "cuda:2": 6} == memory.peak
    assert "full" == memory.mode
    assert not gang.broken


def test_a_failure_of_all_is_that_of_the_call(pipes: list[tuple[Connection, Connection]]) -> None:
    """The processes are at the same place, so that the next call can run."""
    gang, error = gang_of(pipes), ValueError("a bad size")

    with pytest.raises(ValueError, match="a bad size"):
        gang.run(CALL, late(pipes, error), ignore)
    assert not gang.broken


def late(pipes: list[tuple[Connection, Connection]], error: Exception) -> Any:
    """Return what fails as all followers do, after it was begun."""

    def run() -> None:
        answer(pipes, failed(error), failed(error))
        raise error

    return run


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(),
        failed(ValueError("another one")),
        failed(ValueError("of the leader"), OutOfMemoryError("Memory ran out.", model="m")),
    ],
)
def test_another_outcome_of_a_follower_ends_the_gang(
    pipes: list[tuple[Connection, Connection]], outcome: Outcome
) -> None:
    """Nobody knows where the others are; memory that runs out does so at other places even with the same message."""
    gang, error = gang_of(pipes), ValueError("of the leader")

    def run() -> None:
        answer(pipes, failed(error), outcome)
        raise error

    with pytest.raises((ValueError, OctaboxError)):
        gang.run(CALL, run, ignore)
    assert gang.broken


def test_a_follower_that_does_not_end_the_call_ends_the_gang(
    pipes: list[tuple[Connection, Connection]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the leader within an operation that the leader does not begin any more."""
    monkeypatch.setattr(followers, "OUTCOME_TIMEOUT", 0.05)
    gang = gang_of(pipes)

    with pytest.raises(ValueError, match="alone"):
        gang.run(CALL, fail_with(ValueError("alone")), ignore)
    assert gang.broken


def test_a_failure_of_a_follower_alone_is_that_of_the_call(pipes: list[tuple[Connection, Connection]]) -> None:
    """The leader's own result is dropped, since the next call could not run."""
    gang = gang_of(pipes)

    def run() -> int:
        answer(pipes, Outcome(), failed(RuntimeError("a cable")))
        return 7

    with pytest.raises(GenerationError, match="It failed"):
        gang.run(CALL, run, ignore)
    assert gang.broken


def test_the_end_of_a_follower_ends_the_call(pipes: list[tuple[Connection, Connection]]) -> None:
    """Whatever the leader's own error is, which follows from it; each later call ends as well."""
    gang = gang_of(pipes)

    def run() -> None:
        pipes[1][1].close()
        raise RuntimeError("Connection reset by peer")

    for what in (run, fail_with(AssertionError("is not called"))):
        with pytest.raises(WorkerDiedError, match="Process 2 of those that model"):
            gang.run(CALL, what, ignore)
        assert gang.broken


def test_a_leader_that_waits_for_a_failed_follower_is_ended(
    pipes: list[tuple[Connection, Connection]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs in an operation that the follower does not begin: its call fails, and its process exits."""
    monkeypatch.setattr(followers, "OUTCOME_TIMEOUT", 0.05)
    exits, errors, ended = list[int](), list[OctaboxError](), threading.Event()

    def end(code: int) -> None:
        exits.append(code)
        ended.set()

    gang = gang_of(pipes, end)

    def run() -> int:
        pipes[0][1].send(failed(RuntimeError("out of luck")))
        assert ended.wait(10)
        pipes[1][1].send(Outcome())
        return 7

    with pytest.raises(GenerationError, match="It failed"):
        gang.run(CALL, run, errors.append)
    assert [GANG_BROKEN] == exits
    assert ["It failed."] == [each.message for each in errors]
