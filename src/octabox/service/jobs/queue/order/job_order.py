"""The jobs of all models: which ones wait and in which order, which ones the engine has, and which models are paused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from octabox.service.jobs.queue.order.model_queue import ModelQueue, Selection
from octabox.service.jobs.record import StoredJob

#: The pause of all models.
ALL = "*"


class JobOrder:
    """The order of jobs. What changes for a job or a model does not look at the jobs of others, but for `make_room`.

    Args:
        limit: How many jobs the engine's queue of a model may have.
    """

    def __init__(self, limit: int) -> None:
        self._jobs: dict[str, StoredJob] = {}
        self._queues: defaultdict[str, ModelQueue] = defaultdict(lambda: ModelQueue(limit))
        self._sent: set[str] = set()
        self._ending: set[str] = set()
        self.paused: set[str] = set()
        self.place, self._first_place = 0, 0

    def add(self, job: StoredJob) -> None:
        """Add a job that waits."""
        self.place, self._first_place = max(self.place, job.place), min(self._first_place, job.place)
        self._jobs[job.id] = job
        queue = self._queues[job.request.model]
        # An earlier run of it may not have ended yet.
        (queue.add_sent if job.id in self._sent else queue.add)(job)

    def remove(self, job: StoredJob) -> None:
        """Remove a job."""
        queue = self._queues[job.request.model]
        queue.remove(job)
        if not len(queue):
            del self._queues[job.request.model]
        self._ending.discard(job.id)
        del self._jobs[job.id]

    def reserve(self, count: int) -> int:
        """Return the place of the first one of new jobs, which are the last in the queue."""
        self.place += count
        return self.place - count + 1

    def reserve_first(self) -> int:
        """Return a place before those of all jobs."""
        self._first_place -= 1
        return self._first_place

    def make_room(self, place: int) -> None:
        """Increase the places of all jobs from this place on, so that it is free."""
        self.place += 1
        for queue in self._queues.values():
            queue.shift(place)

    def change(self, job: StoredJob, priority: int | None = None, place: int | None = None) -> None:
        """Change the priority or the place of a job; None leaves it as it is. One that has ended is not added again."""
        waits = self._jobs.get(job.id) is job and self.waits(job)
        queue = self._queues[job.request.model] if waits else None
        if queue is not None:
            queue.remove(job)
        job.priority = job.priority if priority is None else priority
        job.place = job.place if place is None else place
        if queue is not None:
            queue.add(job)

    def waits(self, job: StoredJob) -> bool:
        """Return whether the engine does not have a job, which has not ended."""
        return job.id not in self._sent and job.id not in self._ending

    def models(self, among: Iterable[str] | None = None) -> set[str]:
        """Return the models that jobs wait for, of some or of all, but for those that are paused."""
        found = self._queues if among is None else [model for model in among if model in self._queues]
        waiting = {model for model in found if self._queues[model].waiting}
        return set() if ALL in self.paused else waiting - self.paused

    def sent_of(self, models: Iterable[str] | None) -> list[StoredJob]:
        """Return the jobs of some models, or of all, that the engine has."""
        found = self._queues if models is None else [model for model in models if model in self._queues]
        return [job for model in found for job in self._queues[model].sent]

    def take_next(self, model: str, most: int | None = None) -> Selection:
        """Return the jobs to send to the engine now, whose clients have had their turns, or those to take back from it.

        Args:
            model: The model.
            most: How many are sent at most; None is as many as the engine may have.
        """
        selection = self._queues[model].select(self._ending)
        selection = Selection(selection.jobs[:most], selection.outranked)
        self._queues[model].send(selection.jobs)
        self._sent.update(job.id for job in selection.jobs)
        return selection

    def take_back(self, job_id: str) -> None:
        """Let a job wait again that the engine does not have any more, unless it has ended."""
        self._sent.discard(job_id)
        if job := self._jobs.get(job_id):
            queue = self._queues[job.request.model]
            queue.remove(job)
            if job_id not in self._ending:
                queue.add(job)

    def begin_end(self, job: StoredJob) -> None:
        """Note that the end of a job is being stored, so that it is not sent any more."""
        if self.waits(job):
            self._queues[job.request.model].remove(job)
        self._ending.add(job.id)

    def positions(self, jobs: Iterable[StoredJob]) -> Iterator[tuple[StoredJob, int]]:
        """Yield jobs, each with how many are ahead of it; the engine reports the positions of those that it has."""
        by_model: defaultdict[str, list[StoredJob]] = defaultdict(list)
        for job in jobs:
            by_model[job.request.model].append(job)
        for model, found in by_model.items():
            positions = self._queues[model].positions(found)
            yield from ((job, positions.get(job.id, job.progress.position)) for job in found)
