"""The jobs of one priority that wait for a model: clients take turns; those of a client are in the order of their places.

The order is that of (how many jobs of the client run before, the client's last turn, the place). Only the first job of each
client has an entry in it, so that a change of one client does not concern the jobs of the others, however many wait.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Collection, Iterator
from itertools import islice
from typing import NamedTuple

from octabox.service.jobs.record import StoredJob


class Turn(NamedTuple):
    """The rank of a job; the lowest one runs first.

    Args:
        ahead: How many jobs of its client run before it.
        last: Number of the last turn of its client.
        place: Its place.
        client: Its client.
    """

    ahead: int
    last: int
    place: int
    client: str


def _key(job: StoredJob) -> tuple[int, int, str]:
    """Return what orders the jobs of a client: places of jobs that were accepted by different servers may be equal."""
    return job.place, job.number, job.id


class ClientTurns:
    """The jobs of one priority that wait for a model."""

    def __init__(self) -> None:
        self._jobs: dict[str, list[StoredJob]] = {}
        self._first: dict[str, Turn] = {}
        self._turns: list[Turn] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def clients(self) -> int:
        """How many clients have a job here."""
        return len(self._jobs)

    def add(self, job: StoredJob, ahead: int, last: int) -> None:
        """Add a job.

        Args:
            job: The job.
            ahead: How many jobs of its client the engine has.
            last: Number of the last turn of its client.
        """
        insort(self._jobs.setdefault(job.client, []), job, key=_key)
        self._count += 1
        self.update(job.client, ahead, last)

    def remove(self, job: StoredJob) -> None:
        """Remove a job."""
        jobs, former = self._jobs[job.client], self._first[job.client]
        del jobs[bisect_left(jobs, _key(job), key=_key)]
        self._count -= 1
        if not jobs:
            del self._jobs[job.client]
        self.update(job.client, former.ahead, former.last)

    def update(self, client: str, ahead: int, last: int) -> None:
        """Change the rank of a client, if it has a job here.

        Args:
            client: The client.
            ahead: How many jobs of the client the engine has.
            last: Number of its last turn.
        """
        former, jobs = self._first.pop(client, None), self._jobs.get(client)
        if former is not None:
            del self._turns[bisect_left(self._turns, former)]
        if jobs:
            self._first[client] = turn = Turn(ahead, last, jobs[0].place, client)
            insort(self._turns, turn)

    def shift(self, place: int) -> None:
        """Increase the places of all jobs from this place on, which leaves their order as it is."""
        for client, jobs in self._jobs.items():
            for job in jobs[bisect_left(jobs, (place, -1, ""), key=_key) :]:
                job.place += 1
            self._first[client] = self._first[client]._replace(place=jobs[0].place)
        self._turns = sorted(self._first.values())

    def ordered(self, full: Collection[str] = ()) -> Iterator[StoredJob]:
        """Yield the jobs in their order, of which only those are looked at that are taken.

        Args:
            full: Clients whose jobs are left out; clients may be added meanwhile.
        """
        firsts = iter(self._turns)
        # Those of the next client, and the next ones of the clients before it.
        heap = [(turn, 0) for turn in islice(firsts, 1)]
        while heap:
            turn, index = heapq.heappop(heap)
            if index == 0 and (first := next(firsts, None)):
                heapq.heappush(heap, (first, 0))
            jobs = self._jobs[turn.client]
            if turn.client not in full:
                yield jobs[index]
            index += 1
            if index < len(jobs) and turn.client not in full:
                heapq.heappush(heap, (turn._replace(ahead=turn.ahead + 1, place=jobs[index].place), index))

    def position(self, job: StoredJob) -> int:
        """Return how many jobs here are ahead of one of them, which takes as long as there are clients."""
        index = bisect_left(self._jobs[job.client], _key(job), key=_key)
        own = self._first[job.client]
        turn = own._replace(ahead=own.ahead + index, place=job.place)
        return sum(self._count_ahead(client, turn) for client in self._jobs)

    def _count_ahead(self, client: str, turn: Turn) -> int:
        """Return how many jobs of a client have a lower rank than one."""
        jobs, first = self._jobs[client], self._first[client]
        rounds = turn.ahead - first.ahead
        if not 0 <= rounds < len(jobs):
            return min(max(rounds, 0), len(jobs))
        return rounds + (first._replace(ahead=turn.ahead, place=jobs[rounds].place) < turn)
