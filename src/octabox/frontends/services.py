"""What this wire needs of the rest: a door to generations, and the models."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Protocol

from octabox.catalog.pipelines import Catalog
from octabox.config.settings import Settings
from octabox.frontends.results import Results
from octabox.hub.adapters.shelf import AdapterShelf
from octabox.service.jobs import Jobs
from octabox.service.schedulers import ModelSchedulers
from octabox.telemetry.metrics import Metrics
from octabox.types import Event, Generation, GenerationRequest, ModelInfo, ModelStatus


class Generations(Protocol):
    """Runs requests."""

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Run a request and yield its progress, then its result; closing the iterator cancels it."""
        ...

    async def generate(self, request: GenerationRequest) -> Generation:
        """Run a request and return its result; cancelling the task cancels it."""
        ...


class Models(Protocol):
    """The models of this server."""

    @property
    def catalog(self) -> Catalog:
        """The catalog of pipelines and schedulers."""
        ...

    @property
    def adapters(self) -> AdapterShelf:
        """The LoRAs and embeddings of this server."""
        ...

    def ready(self) -> bool:
        """Return whether requests can be served."""
        ...

    def list(self) -> list[ModelInfo]:
        """Return all configured models."""
        ...

    def get(self, name: str) -> ModelInfo:
        """Return what is known of a model."""
        ...

    def schema(self, name: str, task: str | None = None) -> dict[str, Any]:
        """Return the JSON Schema of what may be asked of a model."""
        ...

    def schedulers(self, name: str) -> ModelSchedulers:
        """Return which noise schedulers fit a model."""
        ...

    def scheduler_misfit(self, name: str, scheduler: str) -> str:
        """Return why a scheduler of any name does not fit a model; nothing where it does."""
        ...

    async def load(self, name: str) -> ModelStatus:
        """Bring a model into memory."""
        ...

    async def unload(self, name: str) -> bool:
        """Take a model out of memory; return whether it was there."""
        ...

    def status(self) -> builtins.list[ModelStatus]:
        """Return the models in memory or on their way there."""
        ...


@dataclass(frozen=True)
class Wire:
    """What the routes work with.

    Args:
        generation: Runs requests.
        jobs: Runs requests that have an id, and remembers them.
        models: The models of this server.
        settings: Of the server.
        results: Finished files that clients fetch by URL.
        metrics: The server's figures.
    """

    generation: Generations
    jobs: Jobs
    models: Models
    settings: Settings
    results: Results
    metrics: Metrics
