"""The jobs of a model: those that wait, in their order, and those that the engine has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from octabox.service.jobs.queue.order.client_turns import ClientTurns
from octabox.service.jobs.record import StoredJob

#: How many jobs of a client the engine's queue of a model has: the one that runs, and those that it may combine.
MAX_PER_CLIENT = 8

#: Of how many clients the last turn is known; the one that had it longest ago is next anyway.
MAX_TURNS = 1000


@dataclass(frozen=True)
class Selection:
    """The jobs to send to the engine, or those to take back from it first.

    Args:
        jobs: The jobs to send; none while some are taken back.
        outranked: The jobs to take back, for jobs of a higher priority.
    """

    jobs: tuple[StoredJob, ...] = ()
    outranked: tuple[StoredJob, ...] = ()


class ModelQueue:
    """The jobs of a model. No operation but `shift`, and `positions` of many, looks at all jobs that wait.

    Args:
        limit: How many jobs the engine's queue of the model may have.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[str, StoredJob] = {}
        self._priorities: dict[int, ClientTurns] = {}
        self._sent: dict[str, StoredJob] = {}
        self._ahead: Counter[str] = Counter()
        self._turns: dict[str, int] = {}
        self._turn = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent)

    @property
    def waiting(self) -> int:
        """How many jobs wait that the engine does not have."""
        return len(self._waiting)

    @property
    def sent(self) -> list[StoredJob]:
        """The jobs that the engine has."""
        return [*self._sent.values()]

    def add(self, job: StoredJob) -> None:
        """Add a job that waits."""
        self._waiting[job.id] = job
        group = self._priorities.setdefault(job.priority, ClientTurns())
        group.add(job, self._ahead[job.client], self._turns.get(job.client, 0))

    def remove(self, job: StoredJob) -> None:
        """Remove a job, if it is here, from those that wait or those that the engine has."""
        if self._waiting.pop(job.id, None):
            group = self._priorities[job.priority]
            group.remove(job)
            if not group:
                del self._priorities[job.priority]
        elif self._sent.pop(job.id, None):
            self._ahead[job.client] -= 1
            if not self._ahead[job.client]:
                del self._ahead[job.client]
            self._update(job.client)

    def add_sent(self, job: StoredJob) -> None:
        """Add a job that the engine has."""
        self._sent[job.id] = job
        self._ahead[job.client] += 1
        self._update(job.client)

    def send(self, jobs: Sequence[StoredJob]) -> None:
        """Let the engine have jobs that wait; their clients have had their turns."""
        for job in jobs:
            self.remove(job)
            self._turn += 1
            self._turns.pop(job.client, None)
            self._turns[job.client] = self._turn
            if len(self._turns) > MAX_TURNS:
                del self._turns[next(iter(self._turns))]
            self.add_sent(job)

    def select(self, ending: Collection[str]) -> Selection:
        """Return the jobs to send to the engine.

        The engine lets clients take turns too, so that a client whose jobs arrive later does not wait for all that were sent.
        A job of a higher priority takes the place of the last one of the lowest, where there are as many as may be.

        Args:
            ending: Ids of jobs whose ends are being stored, which are not taken back.
        """
        present, selected, outranked = self.sent, list[StoredJob](), list[StoredJob]()
        movable = {job.id for job in present if job.status == "queued" and job.id not in ending}
        full: set[str] = set()
        for job in self._ordered(full):
            is_client_full = sum(each.client == job.client for each in present) >= MAX_PER_CLIENT
            if len(present) >= self._limit or is_client_full:
                lower = [
                    each
                    for each in present
                    if each.id in movable
                    and each.priority < job.priority
                    and (each.client == job.client or not is_client_full)
                ]
                if not lower and is_client_full:
                    full.add(job.client)
                    continue
                if not lower:  # Nor is there one for those that follow, whose priorities are the same or lower.
                    break
                outranked.append(min(lower, key=lambda each: (each.priority, -each.place)))
                present.remove(outranked[-1])
            selected.append(job)
            present.append(job)
        return Selection((), tuple(outranked)) if outranked else Selection(tuple(selected))

    def positions(self, jobs: Sequence[StoredJob]) -> dict[str, int]:
        """Return how many jobs are ahead of each of some jobs, by id, of those that wait."""
        found = [job for job in jobs if job.id in self._waiting]
        clients = max((group.clients for group in self._priorities.values()), default=0)
        if len(found) * (clients + len(self._priorities)) < len(self._waiting):
            return {job.id: self._position(job) for job in found}
        requested = {job.id for job in found}
        ordered = enumerate(self._ordered(), start=len(self._sent)) if requested else ()
        return {job.id: position for position, job in ordered if job.id in requested}

    def shift(self, place: int) -> None:
        """Increase the places of all jobs from this place on, so that it is free."""
        for group in self._priorities.values():
            group.shift(place)
        for job in self._sent.values():
            job.place += job.place >= place

    def _position(self, job: StoredJob) -> int:
        """Return how many jobs are ahead of one that waits."""
        higher = sum(len(group) for priority, group in self._priorities.items() if priority > job.priority)
        return len(self._sent) + higher + self._priorities[job.priority].position(job)

    def _ordered(self, full: Collection[str] = ()) -> Iterator[StoredJob]:
        """Yield the jobs that wait in their order, but for those of clients that are full."""
        for priority in sorted(self._priorities, reverse=True):
            yield from self._priorities[priority].ordered(full)

    def _update(self, client: str) -> None:
        """Let the order follow how many jobs of a client the engine has, and when its last turn was."""
        for group in self._priorities.values():
            group.update(client, self._ahead[client], self._turns.get(client, 0))
