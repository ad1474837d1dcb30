"""The order of the jobs that wait for a model: by priority; clients take turns; those of a client by their places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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


def select_jobs(ordered: Iterable[StoredJob], sent: Sequence[StoredJob], limit: int) -> list[StoredJob]:
    """Return the jobs to send to the engine.

    The engine lets clients take turns too, so that a client whose jobs arrive later does not wait for all that were sent.

    Args:
        ordered: The jobs that wait, in their order.
        sent: The jobs that the engine has.
        limit: How many jobs it may have; jobs of a higher priority are not prevented by those of a lower one.
    """
    present, selected = list(sent), list[StoredJob]()
    for job in ordered:
        equals = [each for each in present if each.priority >= job.priority]
        if len(equals) >= limit:
            break
        if sum(each.client == job.client for each in equals) < MAX_PER_CLIENT:
            selected.append(job)
            present.append(job)
    return selected
