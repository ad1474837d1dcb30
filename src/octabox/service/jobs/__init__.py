"""Requests in the background, by their ids."""

from octabox.service.jobs.job import Job
from octabox.service.jobs.registry import Jobs

__all__ = ["Job", "Jobs"]
