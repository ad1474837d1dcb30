"""The interfaces of the service, for the frontends and for what observes requests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any, Protocol

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.config.model import ModelConfig
from octabox.config.problems import Problem
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.schedulers.compatibility import Incompatibility
from octabox.service.model_schedulers import ModelSchedulers
from octabox.service.served_model import ServedModel
from octabox.types import Event, Generation, GenerationRequest, ModelInfo, ModelStatus, SchedulerChoice


class Models(Protocol):
    """The models of this server as they were at one time; a request sees one state of their configurations."""

    @property
    def catalog(self) -> Catalog:
        """The catalog of pipelines and schedulers."""
        ...

    @property
    def adapters(self) -> AdapterRegistry:
        """The LoRAs and embeddings of this server."""
        ...

    def list(self) -> list[ModelInfo]:
        """Return all configured models."""
        ...

    def config(self, name: str) -> ModelConfig:
        """Return the configuration of a model; nothing is read for it."""
        ...

    def get(self, name: str) -> ModelInfo:
        """Return a model by name."""
        ...

    def resolve(self, name: str) -> ServedModel:
        """Return a model with its pipeline class."""
        ...

    def pipeline(self, name: str, task: str | None = None) -> PipelineEntry:
        """Return the pipeline of a model that serves a task; its class, if no task is given."""
        ...

    def schema(self, name: str, task: str | None = None) -> dict[str, Any]:
        """Return the JSON Schema of the call parameters of a model for a task."""
        ...

    def schedulers(self, name: str) -> ModelSchedulers:
        """Return which noise schedulers fit a model."""
        ...

    def scheduler_incompatibility(
        self, name: str, choice: SchedulerChoice, pipeline: PipelineEntry | None = None
    ) -> Incompatibility | None:
        """Return why a scheduler does not fit a model, or one of its pipelines; None if it fits."""
        ...

    def check_scheduler(self, model: ServedModel, pipeline: PipelineEntry, choice: SchedulerChoice) -> None:
        """Check that a scheduler can work with a model."""
        ...


class GenerationService(Protocol):
    """Runs requests.

    Each method takes the models by which a request was translated, so that a change of a configuration meanwhile has no effect
    on it; without them, it sees the current ones.
    """

    def stream(self, request: GenerationRequest, models: Models | None = None) -> AsyncGenerator[Event, None]:
        """Run a request and yield its progress, then its result; closing the iterator cancels it."""
        ...

    async def validate(self, request: GenerationRequest, models: Models | None = None) -> GenerationRequest:
        """Check a request completely, and return it with its seed, so that it has the same result whenever it runs."""
        ...

    async def generate(self, request: GenerationRequest, models: Models | None = None) -> Generation:
        """Run a request and return its result; cancelling the task cancels it."""
        ...


class RequestObserver(Protocol):
    """Counts requests that have ended."""

    def count_request(
        self,
        model: str,
        outcome: str,
        seconds: float,
        kinds: Iterable[str] = (),
        timings: Mapping[str, float] | None = None,
        batches: Iterable[int] = (),
    ) -> None:
        """Count a request that has ended.

        Args:
            model: Name of the model.
            outcome: ``ok``, or the name of an error class.
            seconds: How long it took.
            kinds: Kind of each artifact.
            timings: Seconds of its phases.
            batches: How many runs shared the call of the pipeline, by artifact.
        """
        ...


class JobObserver(Protocol):
    """Measures background jobs."""

    def observe_job_wait(self, model: str, seconds: float) -> None:
        """Record how long a job has waited for its first run."""
        ...

    def count_job_takeovers(self, count: int) -> None:
        """Count jobs that were taken over from a server that has ended."""
        ...


class ModelService(Protocol):
    """The models of this server: which there are, and which are in memory."""

    @property
    def catalog(self) -> Catalog:
        """The catalog of pipelines and schedulers."""
        ...

    @property
    def adapters(self) -> AdapterRegistry:
        """The LoRAs and embeddings of this server."""
        ...

    def snapshot(self) -> Models:
        """Return the models as they are now, for one request; this looks for changes in the models folder."""
        ...

    def ready(self) -> bool:
        """Return whether requests can be served."""
        ...

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems of the configurations."""
        ...

    async def load(self, name: str, keep_alive: float | None = None, pin: bool | None = None) -> ModelStatus:
        """Load a model into memory, and change how long it stays there."""
        ...

    async def unload(self, name: str) -> bool:
        """Unload a model; return whether it was in memory."""
        ...

    def status(self) -> list[ModelStatus]:
        """Return the models in memory or on their way there."""
        ...

    def waiting(self) -> Mapping[str, int]:
        """Return how many requests wait by model, also of models that have no place in memory yet."""
        ...
