"""Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from octabox.types import ModelStatus

#: Buckets of the request duration in seconds: from a small model in memory to a long video.
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)


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
        self._artifacts = Counter(
            "octabox_artifacts", "Generated artifacts.", ["model", "kind"], registry=self._registry
        )
        self._waiting = Gauge("octabox_waiting", "Waiting requests.", ["model"], registry=self._registry)
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

    def count_request(self, model: str, outcome: str, seconds: float, kinds: Iterable[str] = ()) -> None:
        """Count a completed request; ``outcome`` is ``ok`` or the name of an error class."""
        self._requests.labels(model, outcome).inc()
        self._seconds.labels(model).observe(seconds)
        for kind in kinds:
            self._artifacts.labels(model, kind).inc()

    def render(self, models: Iterable[ModelStatus]) -> bytes:
        """Return all metrics in Prometheus' text format, with the current status of the models."""
        self._waiting.clear()
        self._memory.clear()
        self._allocated.clear()
        for status in models:
            self._waiting.labels(status.model).set(status.waiting)
            for device, size in status.memory.items():
                self._memory.labels(status.model, device).set(size)
            for device, size in status.allocated.items():
                self._allocated.labels(status.model, device).set(size)
        return generate_latest(self._registry)
