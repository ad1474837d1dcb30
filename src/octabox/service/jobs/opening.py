"""Build the queue of background jobs of a server."""

from __future__ import annotations

from octabox.config.sections.jobs import webhook_key
from octabox.config.settings import Settings
from octabox.security.urls import UrlGuard
from octabox.service.jobs.queue.acceptor import QueueLimits
from octabox.service.jobs.queue.job_queue import JobQueue
from octabox.service.jobs.store.store import JobStore
from octabox.service.protocols import GenerationService, JobObserver, ModelService
from octabox.storage import open_store


def job_queue(
    generation: GenerationService, settings: Settings, models: ModelService, observer: JobObserver
) -> JobQueue:
    """Return the queue of a server, whose store is not open yet.

    Args:
        generation: Runs requests.
        settings: The server's settings.
        models: The models of the server.
        observer: Measures the jobs.
    """

    def name_of(model: str) -> str:
        info = models.snapshot().get(model)
        return info.alias_of or info.name

    limits = QueueLimits(
        ttl=settings.job_ttl,
        waiting=settings.max_jobs,
        per_client=settings.job_quota,
        # The other half of the queue is for requests that clients wait for.
        per_model=max(1, settings.queue_size // 2),
        bytes=settings.max_job_bytes,
    )
    url = settings.job_store.get_secret_value() if settings.job_store else None
    key = webhook_key(settings.webhook_secret.get_secret_value()) if settings.webhook_secret else b""
    store = JobStore(url, settings.data_dir, open_store(settings.file_store))
    guard = UrlGuard(hosts=settings.url_hosts)
    return JobQueue(generation, store, limits, key, guard, observer=observer, name_of=name_of)
