"""Signs of life of a process: its messages, its CPU time and the progress of its calls."""

from __future__ import annotations

import os

import pytest

from fake_worker import call, result
from octabox.engine.local.processes import liveness
from octabox.engine.local.processes.liveness import Silence, WorkerActivity, check_interval, cpu_seconds
from octabox.engine.messages import Alive, Finished, RunCall, StepDone
from octabox.types import Progress


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Return the CPU time of each next check; the last one stays."""
    times: list[float | None] = [1.0]
    monkeypatch.setattr(liveness, "cpu_seconds", lambda _: times.pop(0) if len(times) > 1 else times[0])
    return times


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="The system reports no CPU time.")  # noqa: PTH110
def test_cpu_time_is_that_of_a_process() -> None:
    """One that does not exist has none."""
    assert 0 < (cpu_seconds(os.getpid()) or 0) <= sum(os.times()[:2]) + 0.1
    assert cpu_seconds(2**30) is None
    assert cpu_seconds(None) is None


def test_silence_ends_with_cpu_time_or_a_message(cpu: list[float | None]) -> None:
    """Only checks between which nothing happened are added up."""
    silence = Silence(1)
    assert [5, 10] == [silence.count(5) for _ in range(2)]
    cpu.append(1.5)
    cpu.pop(0)
    assert [0, 5] == [silence.count(5) for _ in range(2)]
    silence.end()
    assert 5 == silence.count(5)


def test_a_silent_worker_is_to_be_ended(cpu: list[float | None]) -> None:
    """Where the system reports no CPU time, messages alone count."""
    cpu[:] = [None]
    activity = WorkerActivity(1, 10, 0)
    assert "" == activity.check(5)
    activity.note_received(Alive())
    assert "" == activity.check(5)
    assert "gave no sign of life for 10 seconds" == activity.check(5)


def test_a_call_without_progress_is_to_be_ended(cpu: list[float | None]) -> None:
    """A step is progress, an answer to a ping is not; a worker without a call makes none."""
    cpu[:] = [float(number) for number in range(100)]
    activity, of = WorkerActivity(1, 10, 10), call()
    assert {""} == {activity.check(5) for _ in range(4)}
    activity.note_sent(RunCall(of))
    activity.check(5)
    activity.note_received(StepDone(of.id, Progress("running", 1, 2)))
    assert "" == activity.check(5)
    activity.note_received(Alive())
    assert "made no progress for 10 seconds" == activity.check(5)
    activity.note_received(Finished(of.id, result(of)))
    assert {""} == {activity.check(5) for _ in range(4)}


def test_zero_is_no_limit(cpu: list[float | None]) -> None:
    """For a debugger, for example."""
    activity = WorkerActivity(1, 0, 0)
    activity.note_sent(RunCall(call()))

    assert {""} == {activity.check(1000) for _ in range(4)}
    assert cpu


def test_short_limits_are_checked_often() -> None:
    """A quarter of the limit, and some seconds at most."""
    assert [0.25, 5, 5] == [check_interval(timeout) for timeout in (1, 60, 0)]
