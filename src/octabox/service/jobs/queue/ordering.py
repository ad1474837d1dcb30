"""The order of the jobs that wait for a model: by priority; clients take turns; those of a client by their places.

The jobs of a client also enter the engine's queue in their order, though their preparation takes different times.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from octabox.service.jobs.record import StoredJob

#: How many jobs of a client the engine's queue of a model has: the one that runs, and those that it may combine.
MAX_PER_CLIENT = 8


def order_jobs(
    waiting: Iterable[StoredJob], last_turns: Mapping[str, int], ahead: Mapping[str, int]
) -> list[StoredJob]:
    """Return jobs in the order in which they are to run.

    Args:
        waiting: The jobs.
        last_turns: Number of the last turn of each client; the one whose turn was earliest is next.
        ahead: How many jobs of each client run before its first one here.
    """
    by_priority = sorted(waiting, key=lambda job: (-job.priority, job.place))
    ordered: list[StoredJob] = []
    for _, group in groupby(by_priority, key=lambda job: job.priority):
        counts, turns = Counter(ahead), list[tuple[int, int, int, StoredJob]]()
        for job in group:
            turns.append((counts[job.client], last_turns.get(job.client, 0), job.place, job))
            counts[job.client] += 1
        turns.sort(key=lambda turn: turn[:3])
        ordered += [turn[3] for turn in turns]
    return ordered


@dataclass(frozen=True)
class Selection:
    """The jobs to send to the engine, or those to take back from it first.

    Args:
        jobs: The jobs to send; none while some are taken back.
        outranked: The jobs to take back, for jobs of a higher priority.
    """

    jobs: tuple[StoredJob, ...] = ()
    outranked: tuple[StoredJob, ...] = ()


def select_jobs(
    ordered: Iterable[StoredJob], sent: Sequence[StoredJob], movable: Collection[str], limit: int
) -> Selection:
    """Return the jobs to send to the engine.

    The engine lets clients take turns too, so that a client whose jobs arrive later does not wait for all that were sent. A
    job of a higher priority takes the place of the last one of the lowest, where there are as many as may be.

    Args:
        ordered: The jobs that wait, in their order.
        sent: The jobs that the engine has.
        movable: Ids of those that can be taken back, since they do not run.
        limit: How many jobs it may have.
    """
    present, selected, outranked = list(sent), list[StoredJob](), list[StoredJob]()
    for job in ordered:
        is_client_full = sum(each.client == job.client for each in present) >= MAX_PER_CLIENT
        if len(present) >= limit or is_client_full:
            lower = [
                each
                for each in present
                if each.id in movable
                and each.priority < job.priority
                and (each.client == job.client or not is_client_full)
            ]
            if not lower and is_client_full:
                continue
            if not lower:  # Nor is there one for those that follow, whose priorities are the same or lower.
                break
            outranked.append(min(lower, key=lambda each: (each.priority, -each.place)))
            present.remove(outranked[-1])
        selected.append(job)
        present.append(job)
    return Selection((), tuple(outranked)) if outranked else Selection(tuple(selected))


class Entries:
    """The jobs that are being prepared, by model and client, so that no client delays another one."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._entered: dict[str, asyncio.Future[None]] = {}

    def add(self, job: StoredJob) -> Awaitable[None]:
        """Add a job as the last one, and return its turn."""
        key = (job.request.model, job.client)
        before = self._last.get(key)
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last[key] = self._entered[job.id] = entered

        def forget(done: asyncio.Future[None]) -> None:
            if self._last.get(key) is done:
                del self._last[key]

        entered.add_done_callback(forget)
        return _wait(before)

    def end(self, job: StoredJob) -> None:
        """Let the next job prepare, since this one has entered the queue or does not run."""
        entered = self._entered.pop(job.id, None)
        if entered is not None:
            entered.set_result(None)


def _wait(before: asyncio.Future[None] | None) -> Awaitable[None]:
    """Return what waits for another future, and does not cancel it."""
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    if before is None or before.done():
        waiting.set_result(None)
    else:
        before.add_done_callback(lambda _: None if waiting.done() else waiting.set_result(None))
    return waiting
