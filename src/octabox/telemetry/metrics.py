"""Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from octabox.types import ModelStatus

#: Buckets of the request duration in seconds: from a small model in memory to a long video.
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)

#: Buckets of the number of runs that share a call of a pipeline.
BATCHES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Metrics of the server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "octabox_requests",
            "Completed requests by model and outcome.",
            ["model", "outcome"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "octabox_request_seconds",
            "Seconds from request to result.",
            ["model"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._phases = Histogram(
            "octabox_phase_seconds",
            "Seconds of a request's phases: queue, load, run and encode.",
            ["model", "phase"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._out_of_memory = Counter(
            "octabox_out_of_memory",
            "Calls and loads in which memory ran out, also those that were repeated.",
            ["model"],
            registry=self._registry,
        )
        self._artifacts = Counter(
            "octabox_artifacts", "Generated artifacts.", ["model", "kind"], registry=self._registry
        )
        self._waiting = Gauge("octabox_waiting", "Waiting requests.", ["model"], registry=self._registry)
        self._batches = Histogram(
            "octabox_batch_size",
            "Runs that shared the call of the pipeline that made an artifact.",
            ["model"],
            buckets=BATCHES,
            registry=self._registry,
        )
        self._evictions = Counter(
            "octabox_evictions",
            "Models unloaded for another one, or for lack of requests.",
            ["model", "reason"],
            registry=self._registry,
        )
        self._add_memory()
        self._add_jobs()

    def _add_memory(self) -> None:
        """Add the metrics of memory."""
        self._memory = Gauge(
            "octabox_memory_bytes",
            "Memory of a model: resident on the host, reserved on an accelerator.",
            ["model", "place"],
            registry=self._registry,
        )
        self._allocated = Gauge(
            "octabox_memory_allocated_bytes",
            "Accelerator memory used by a model's tensors.",
            ["model", "place"],
            registry=self._registry,
        )

    def _add_jobs(self) -> None:
        """Add the metrics of background jobs."""
        self._jobs = Gauge("octabox_jobs", "Background jobs by status.", ["status"], registry=self._registry)
        self._job_wait = Histogram(
            "octabox_job_wait_seconds",
            "Seconds that background jobs waited for their first run.",
            ["model"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._takeovers = Counter(
            "octabox_job_takeovers",
            "Background jobs taken over from a server that has ended.",
            registry=self._registry,
        )
        self._sizes = CollectorRegistry()  # Left out while the size is unknown.
        self._result_bytes = Gauge(
            "octabox_job_result_bytes", "Size of the results of background jobs on disk.", registry=self._sizes
        )

    def observe_job_wait(self, model: str, seconds: float) -> None:
        """Record how long a background job has waited for its first run."""
        self._job_wait.labels(model).observe(seconds)

    def count_job_takeovers(self, count: int) -> None:
        """Count background jobs that were taken over from a server that has ended."""
        self._takeovers.inc(count)

    def count_request(
        self,
        model: str,
        outcome: str,
        seconds: float,
        kinds: Iterable[str] = (),
        timings: Mapping[str, float] | None = None,
        batches: Iterable[int] = (),
    ) -> None:
        """Count a completed request; ``outcome`` is ``ok`` or the name of an error class."""
        for size in batches:
            self._batches.labels(model).observe(size)
        for phase, duration in (timings or {}).items():
            self._phases.labels(model, phase).observe(duration)
        self._requests.labels(model, outcome).inc()
        self._seconds.labels(model).observe(seconds)
        for kind in kinds:
            self._artifacts.labels(model, kind).inc()

    def count_eviction(self, model: str, reason: str) -> None:
        """Count a model that was unloaded; ``reason`` is ``count``, ``memory`` or ``keep_alive``."""
        self._evictions.labels(model, reason).inc()

    def count_out_of_memory(self, model: str) -> None:
        """Count a call or a load in which memory ran out."""
        self._out_of_memory.labels(model).inc()

    def render(
        self,
        models: Iterable[ModelStatus],
        jobs: Mapping[str, int] | None = None,
        result_bytes: int | None = None,
        waiting: Mapping[str, int] | None = None,
    ) -> bytes:
        """Return all metrics in Prometheus' text format.

        Args:
            models: The current status of the models.
            jobs: How many background jobs there are, by status; empty while that is unknown.
            result_bytes: Size of their results; None while that is unknown.
            waiting: How many requests wait by model, also of models that are not in memory.
        """
        self._jobs.clear()
        self._waiting.clear()
        self._memory.clear()
        self._allocated.clear()
        for status, count in (jobs or {}).items():
            self._jobs.labels(status).set(count)
        for name, count in (waiting or {}).items():
            self._waiting.labels(name).set(count)
        for model in models:
            for device, size in model.memory.items():
                self._memory.labels(model.model, device).set(size)
            for device, size in model.allocated.items():
                self._allocated.labels(model.model, device).set(size)
        self._result_bytes.set(result_bytes or 0)
        return generate_latest(self._registry) + (b"" if result_bytes is None else generate_latest(self._sizes))
