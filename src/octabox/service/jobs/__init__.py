"""Work in the background: requests by their ids, and the models to load when the server starts."""

from octabox.service.jobs.job import Job
from octabox.service.jobs.preloading import Preloads
from octabox.service.jobs.registry import Jobs

__all__ = ["Job", "Jobs", "Preloads"]
