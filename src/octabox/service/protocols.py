"""The interfaces of the service, for the frontends and for what observes requests."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Protocol

from octabox.catalog.pipelines import Catalog
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.service.model_schedulers import ModelSchedulers
from octabox.types import Event, Generation, GenerationRequest, ModelInfo, ModelStatus


class GenerationService(Protocol):
    """Runs requests."""

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Run a request and yield its progress, then its result; closing the iterator cancels it."""
        ...

    async def generate(self, request: GenerationRequest) -> Generation:
        """Run a request and return its result; cancelling the task cancels it."""
        ...


class RequestObserver(Protocol):
    """Is notified of requests that have ended."""

    def count_request(self, model: str, outcome: str, seconds: float, kinds: Iterable[str] = ()) -> None:
        """Record a request that has ended.

        Args:
            model: Name of the model.
            outcome: ``ok``, or the name of an error class.
            seconds: How long it took.
            kinds: Kind of each artifact.
        """
        ...


class ModelService(Protocol):
    """The models of this server."""

    @property
    def catalog(self) -> Catalog:
        """The catalog of pipelines and schedulers."""
        ...

    @property
    def adapters(self) -> AdapterRegistry:
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

    def scheduler_incompatibility(self, name: str, scheduler: str) -> str:
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
