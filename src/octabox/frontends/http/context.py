"""What every route of the HTTP server works with."""

from __future__ import annotations

from dataclasses import dataclass

from octabox.config.settings import Settings
from octabox.frontends.http.results import Results
from octabox.service.jobs import Jobs
from octabox.service.protocols import GenerationService, ModelService
from octabox.telemetry.metrics import Metrics


@dataclass(frozen=True)
class AppContext:
    """What the routes work with.

    Args:
        generation: Runs requests.
        jobs: Runs requests that have an id, and remembers them.
        models: The models of this server.
        settings: Of the server.
        results: Finished files that clients fetch by URL.
        metrics: The server's figures.
    """

    generation: GenerationService
    jobs: Jobs
    models: ModelService
    settings: Settings
    results: Results
    metrics: Metrics
