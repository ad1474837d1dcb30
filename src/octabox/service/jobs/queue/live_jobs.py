"""The jobs that wait or run, in memory: their order, their events, and which models are paused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from octabox.service.jobs.queue.event_log import EventLog
from octabox.service.jobs.queue.ordering import Selection, order_jobs, select_jobs
from octabox.service.jobs.record import StoredJob
from octabox.types import Progress

#: The pause of all models.
ALL = "*"


class LiveJobs:
    """The jobs that wait or run.

    Args:
        limit: How many jobs the engine's queue of a model may have.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: dict[str, StoredJob] = {}
        self._logs: dict[str, EventLog] = {}
        self._turns: dict[str, int] = {}
        self.paused: set[str] = set()
        self.sent: set[str] = set()
        self.ending: set[str] = set()
        self.reserved: Counter[str] = Counter()
        self.place = 0

    def __iter__(self) -> Iterator[StoredJob]:
        return iter([*self._jobs.values()])

    def __len__(self) -> int:
        return len(self._jobs) + self.reserved.total()

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._jobs

    def add(self, job: StoredJob) -> None:
        """Add a job that waits."""
        self.place = max(self.place, job.place)
        self._jobs[job.id] = job
        self._logs[job.id] = EventLog(job.attempts)

    def reserve(self, count: int) -> int:
        """Return the place of the first one of new jobs, which are the last in the queue."""
        self.place += count
        return self.place - count + 1

    def get(self, job_id: str) -> StoredJob | None:
        """Return a job; None if none with this id waits or runs."""
        return self._jobs.get(job_id)

    def holds(self, job: StoredJob) -> bool:
        """Return whether a job waits or runs, and not another one that has taken its id after its end."""
        return self._jobs.get(job.id) is job

    def current(self, *jobs: StoredJob) -> list[StoredJob]:
        """Return the state of the jobs that wait or run, with their positions; others as they are."""
        states = [self._jobs.get(job.id, job) for job in jobs]
        waiting = [job for job in states if job.id in self._jobs and job.status == "queued"]
        for job, position in zip(waiting, self._positions(waiting), strict=True):
            job.progress = replace(job.progress, position=position)
        return states

    def log(self, job: StoredJob) -> EventLog:
        """Return the events of a job."""
        return self._logs[job.id]

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
        for job in self:
            self.release(job)

    def _forget(self, job: StoredJob) -> EventLog | None:
        """Remove a job, and return its events."""
        self._jobs.pop(job.id, None)
        self.ending.discard(job.id)
        return self._logs.pop(job.id, None)

    def of_model(self, model: str) -> list[StoredJob]:
        """Return the jobs of a model."""
        return [job for job in self._jobs.values() if job.request.model == model]

    def of_client(self, client: str) -> int:
        """Return the number of jobs of a client, with those that are being stored."""
        return sum(job.client == client for job in self._jobs.values()) + self.reserved[client]

    def make_room(self, place: int) -> None:
        """Increase the places of all jobs from this place on, so that it is free."""
        self.place += 1
        for job in self._jobs.values():
            job.place += job.place >= place

    def models(self) -> set[str]:
        """Return the models that jobs wait for, but for those that are paused."""
        models = {job.request.model for job in self._jobs.values() if job.id not in self.sent}
        return set() if ALL in self.paused else models - self.paused

    def take_next(self, model: str) -> Selection:
        """Return the jobs to send to the engine now, whose clients have had their turns, or those to take back from it."""
        sent = [job for job in self.of_model(model) if job.id in self.sent]
        movable = {job.id for job in sent if job.status == "queued" and job.id not in self.ending}
        selection = select_jobs(self.ordered(model), sent, movable, self._limit)
        for job in selection.jobs:
            self._turns[job.client] = max(self._turns.values(), default=0) + 1
            self.sent.add(job.id)
        return selection

    def ordered(self, model: str) -> list[StoredJob]:
        """Return the jobs of a model that the engine does not have, in their order."""
        jobs = self.of_model(model)
        waiting = [job for job in jobs if job.id not in self.sent and job.id not in self.ending]
        return order_jobs(waiting, self._turns, Counter(job.client for job in jobs if job.id in self.sent))

    def publish_positions(self) -> None:
        """Send the clients that follow a waiting job its position, if it has changed."""
        held = self.sent | self.ending
        followed = [job for job in self._jobs.values() if self._logs[job.id].followed and job.id not in held]
        for job, position in zip(followed, self._positions(followed), strict=True):
            progress = Progress("queued", position=position)
            if progress != job.progress:
                job.progress = progress
                self._logs[job.id].publish(progress)

    def _positions(self, jobs: Iterable[StoredJob]) -> list[int]:
        """Return how many jobs are ahead of each of some jobs; the order of a model is found once for all of its jobs."""
        waiting = [job for job in jobs if job.id not in self.sent]
        positions: dict[str, int] = {}
        for model in {job.request.model for job in waiting}:
            ahead = sum(each.id in self.sent for each in self.of_model(model))
            positions.update((job.id, ahead + index) for index, job in enumerate(self.ordered(model)))
        # The engine reports the positions of those that it has.
        return [positions.get(job.id, job.progress.position) for job in jobs]
