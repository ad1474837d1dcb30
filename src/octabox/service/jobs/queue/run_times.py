"""How long the runs of each model take, and when a client should ask for a job again."""

from __future__ import annotations

from octabox.service.jobs.record import StoredJob

#: Weight of a new run in the mean; the models' settings and requests change.
WEIGHT = 0.3

#: Seconds of a run of a model that has not run yet.
DEFAULT = 2.0

#: Bounds of the time after which a client should ask again, in seconds.
MIN_POLL, MAX_POLL = 0.25, 30.0


class RunTimes:
    """The mean seconds of a run by model."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def load(self, seconds: dict[str, float]) -> None:
        """Set the seconds that were learned before."""
        self._seconds = {**seconds, **self._seconds}

    def learn(self, model: str, seconds: float) -> float:
        """Add a run of a model, and return the mean."""
        mean = self._seconds.get(model, seconds)
        self._seconds[model] = mean + WEIGHT * (seconds - mean)
        return self._seconds[model]

    def remaining(self, job: StoredJob, now: float) -> float:
        """Return the estimated seconds until the end of a job.

        Args:
            job: The job. While it waits, its progress has its position.
            now: The time in seconds since the epoch.
        """
        mean = self.seconds(job.request.model)
        if job.ended is not None:
            return 0.0
        if job.status == "queued" or job.started is None:
            return mean * (job.progress.position + 1)
        elapsed, progress = max(now - job.started, 0.0), job.progress
        if progress.step:
            return elapsed * (progress.steps - progress.step) / progress.step
        return max(mean - elapsed, MIN_POLL)

    def poll_after(self, job: StoredJob, now: float) -> float:
        """Return after how many seconds a client should ask for a job again: when about half of the time has passed."""
        return min(max(self.remaining(job, now) / 2, MIN_POLL), MAX_POLL)

    def seconds(self, model: str) -> float:
        """Return the seconds of a run of a model."""
        return self._seconds.get(model, DEFAULT)
