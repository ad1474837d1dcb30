"""The jobs that wait or run, in memory: their order and their events."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

from octabox.service.jobs.queue.event_log import EventLog
from octabox.service.jobs.queue.order.job_order import JobOrder
from octabox.service.jobs.record import StoredJob


class LiveJobs:
    """The jobs that wait or run; `order` has their order.

    Args:
        limit: How many jobs the engine's queue of a model may have.
    """

    def __init__(self, limit: int) -> None:
        self.order = JobOrder(limit)
        self._jobs: dict[str, StoredJob] = {}
        self._logs: dict[str, EventLog] = {}
        self._followed: set[str] = set()
        self._of_client: Counter[str] = Counter()
        self._reserved = 0

    def __len__(self) -> int:
        return len(self._jobs) + self._reserved

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._jobs

    def add(self, job: StoredJob) -> None:
        """Add a job that waits; one with the same id is no longer this server's."""
        if former := self._jobs.get(job.id):
            self.release(former)
        self._jobs[job.id] = job
        self._logs[job.id] = EventLog(job.attempts, partial(self._note_followers, job.id))
        self._count(job.client, 1)
        self.order.add(job)

    def get(self, job_id: str) -> StoredJob | None:
        """Return a job; None if none with this id waits or runs."""
        return self._jobs.get(job_id)

    def holds(self, job: StoredJob) -> bool:
        """Return whether a job waits or runs, and not another one that has taken its id after its end."""
        return self._jobs.get(job.id) is job

    def current(self, *jobs: StoredJob) -> list[StoredJob]:
        """Return the state of the jobs that wait or run, with their positions; others as they are."""
        found = [(self._jobs.get(job.id), job) for job in jobs]
        # An id may be that of a newer job than was read.
        states = [live if live is not None and live.number == job.number else job for live, job in found]
        waiting = [job for job in states if self.holds(job) and job.status == "queued"]
        for job, position in self.order.positions(waiting):
            job.progress = replace(job.progress, position=position)
        return states

    def log(self, job: StoredJob) -> EventLog:
        """Return the events of a job."""
        return self._logs[job.id]

    def followed(self) -> list[StoredJob]:
        """Return the jobs that clients follow and the engine does not have."""
        return [job for job_id in self._followed if self.order.waits(job := self._jobs[job_id])]

    def remove(self, job: StoredJob) -> None:
        """Remove a job that has ended, and publish that."""
        if log := self._forget(job):
            log.end()

    def release(self, job: StoredJob) -> None:
        """Remove a job that is another server's now; the streams of its followers end, so that they connect again."""
        if log := self._forget(job):
            log.publish(final=True)

    def clear(self) -> None:
        """Remove all jobs, since they are no longer this server's."""
        for job in [*self._jobs.values()]:
            self.release(job)

    def reserve_room(self, client: str, count: int) -> None:
        """Count jobs of a client that are being stored; a negative number is of those that no longer are."""
        self._reserved += count
        self._count(client, count)

    def of_client(self, client: str) -> int:
        """Return the number of jobs of a client, with those that are being stored."""
        return self._of_client[client]

    def _forget(self, job: StoredJob) -> EventLog | None:
        """Remove a job, and return its events."""
        found = self._jobs.pop(job.id, None)
        if found is None:
            return None
        self.order.remove(found)
        self._count(found.client, -1)
        self._followed.discard(job.id)
        return self._logs.pop(job.id)

    def _count(self, client: str, change: int) -> None:
        """Change the number of jobs of a client, of whom nothing is kept without any."""
        self._of_client[client] += change
        if not self._of_client[client]:
            del self._of_client[client]

    def _note_followers(self, job_id: str) -> None:
        """Note whether a client follows a job."""
        is_followed = job_id in self._logs and self._logs[job_id].followed
        (self._followed.add if is_followed else self._followed.discard)(job_id)
