"""Work in the background: requests by their ids, and the models to load when the server starts."""

from octabox.service.jobs.job import Job
from octabox.service.jobs.preloading import Preloads
from octabox.service.jobs.queue.acceptor import QueueLimits
from octabox.service.jobs.queue.job_queue import JobQueue
from octabox.service.jobs.record import Acceptance, JobQuery, Kind, StoredJob, Submission
from octabox.service.jobs.registry import Jobs
from octabox.service.jobs.store.store import JobStore

__all__ = [
    "Acceptance",
    "Job",
    "JobQuery",
    "JobQueue",
    "JobStore",
    "Jobs",
    "Kind",
    "Preloads",
    "QueueLimits",
    "StoredJob",
    "Submission",
]
