"""Collaborators of the routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from octabox.config.settings import Settings
from octabox.frontends.http.network.lifecycle import Lifecycle
from octabox.frontends.http.results import Results
from octabox.media.decoding.decoders import Decoder
from octabox.media.fetcher import Fetcher
from octabox.media.limits import MediaLimits
from octabox.service.hub.pulls import Pulls
from octabox.service.jobs import JobQueue, Jobs, Preloads
from octabox.service.protocols import GenerationService, ModelService
from octabox.telemetry.logs import RecentLines
from octabox.telemetry.metrics import Metrics


@dataclass(frozen=True)
class AppContext:
    """Collaborators of the routes.

    Args:
        generation: Runs requests.
        jobs: Runs the requests that a client waits for, and keeps their status.
        queue: Runs requests in the background; they are stored.
        models: The models of this server.
        settings: Settings of the server.
        results: Files that clients fetch by URL.
        metrics: Metrics of the server.
        decoder: Decodes the media of requests.
        pulls: Downloads of models.
        preloads: Models that are loaded when the server starts.
        lifecycle: Whether the server is being stopped.
        log: The last lines of the log.
        fetcher: Fetches media of requests that a route has to see itself.
        devices: Returns the free bytes of each accelerator of this machine.
    """

    generation: GenerationService
    jobs: Jobs
    queue: JobQueue
    models: ModelService
    settings: Settings
    results: Results
    metrics: Metrics
    decoder: Decoder
    pulls: Pulls
    preloads: Preloads = field(default_factory=Preloads)
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    log: RecentLines = field(default_factory=RecentLines)
    fetcher: Fetcher = field(default_factory=lambda: Fetcher(MediaLimits()))
    devices: Callable[[], Awaitable[dict[str, Any]]] | None = None
