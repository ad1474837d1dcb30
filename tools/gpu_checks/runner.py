"""Run checks in sequence within a time budget; each has its own limit, and a failure does not end the others."""

from __future__ import annotations

import contextlib
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Literal, TypeVar

#: One row of a table: what was measured, by the name of its column.
Row = dict[str, Any]

#: Seconds after which a check that took no notice of its limit is ended again.
RETRY_DELAY = 5.0

#: What a check is given.
BenchT = TypeVar("BenchT")

#: What becomes of a check.
Status = Literal["ok", "failed", "skipped", "not run"]


class CheckFailedError(Exception):
    """Something is not as it must be."""


class CheckSkippedError(Exception):
    """A check cannot be made here; the message is the reason."""


class CheckTimeoutError(Exception):
    """A check took longer than it may."""


@dataclass(frozen=True)
class Check:
    """Something that is tried or measured.

    Args:
        name: What it is called.
        table: Heading of the table that its rows belong to.
        run: Makes it: yields rows as they are measured, and raises where something is not as it must be.
        cost: Seconds that it is expected to take on a recent accelerator.
        limit: Seconds after which it is ended.
        needs: Names of checks that must have succeeded.
        covers: What it covers, such as a memory mode of a model, in the form of `covered`.
    """

    name: str
    table: str
    run: Callable[[Any], Iterator[Row]]
    cost: float
    limit: float
    needs: tuple[str, ...] = ()
    covers: frozenset[str] = frozenset()


@dataclass
class Outcome:
    """What became of a check.

    Args:
        name: The check.
        table: Heading of the table that its rows belong to.
        status: Whether it was made, and how it ended.
        seconds: How long it took.
        rows: What it measured, up to an error too.
        error: What went wrong, or why it was not made.
    """

    name: str
    table: str
    status: Status = "not run"
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)
    error: str = ""


def require(condition: object, message: str) -> None:
    """Raise an error with a message where a condition does not hold."""
    if not condition:
        raise CheckFailedError(message)


def plan_checks(checks: Sequence[Check], budget: float) -> list[Check]:
    """Return the checks that are run within a budget if each takes as long as is expected.

    Args:
        checks: All checks in their order.
        budget: Seconds for all of them.
    """
    planned: dict[str, Check] = {}
    for check in checks:
        if check.cost <= budget and planned.keys() >= set(check.needs):
            planned[check.name] = check
            budget -= check.cost
    return list(planned.values())


def run_checks(
    checks: Sequence[Check],
    bench: BenchT,
    budget: float,
    write: Callable[[list[Outcome]], None],
    *,
    planned: bool = True,
    failed: Callable[[BenchT], None] = lambda _: None,
) -> list[Outcome]:
    """Run checks in their order, and return what became of each.

    Args:
        checks: The most valuable first.
        bench: What each is given.
        budget: Seconds for all of them.
        write: Called with all outcomes before the first check and after each.
        planned: Keep the limits, and leave out what is expected to take longer than is left.
        failed: Called after a check has failed, to put things in order.
    """
    end = time.monotonic() + budget
    outcomes = [Outcome(check.name, check.table) for check in checks]
    write(outcomes)
    for check, outcome in zip(checks, outcomes, strict=True):
        left = end - time.monotonic()
        lacking = [each.name for each in outcomes if each.name in check.needs and each.status != "ok"]
        if lacking:
            outcome.status, outcome.error = "skipped", f"needs {', '.join(lacking)}"
        elif left < (check.cost if planned else 1):
            outcome.error = f"takes about {check.cost:.0f} s, {max(left, 0):.0f} s of the budget were left"
        else:
            _run(check, bench, min(check.limit, left) if planned else left, outcome)
        if outcome.status == "failed":
            failed(bench)
        write(outcomes)
    return outcomes


def _run(check: Check, bench: object, limit: float, outcome: Outcome) -> None:
    """Run one check, and note what became of it."""
    began = time.monotonic()
    try:
        with time_limit(limit):
            for row in check.run(bench):
                outcome.rows.append(row)
        outcome.status = "ok"
    except CheckSkippedError as error:
        outcome.status, outcome.error = "skipped", str(error)
    except CheckTimeoutError:
        outcome.status, outcome.error = "failed", f"it was ended after {limit:.0f} s"
    except Exception as error:  # noqa: BLE001 (a check that fails must not end the others)
        outcome.status, outcome.error = "failed", _describe(error)
    outcome.seconds = time.monotonic() - began


def _describe(error: Exception) -> str:
    """Return an error in one line, with the place that raised it unless a check has judged."""
    text = " ".join(str(error).split())
    if isinstance(error, CheckFailedError):
        return text
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} ({place.name}, {place.filename.rpartition('/')[2]}:{place.lineno})"


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise an error wherever the main thread is once the context has lasted longer than this.

    Raises:
        CheckTimeoutError: It has.
    """

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise CheckTimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), RETRY_DELAY)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
