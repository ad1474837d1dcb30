"""Figures for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from octabox.types import ModelStatus

#: Upper bounds of the histogram of a request's seconds: from a cached small model to a long video.
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)


class Metrics:
    """The server's figures."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "octabox_requests",
            "Requests that ended, by model and outcome.",
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
        self._artifacts = Counter("octabox_artifacts", "Artifacts made.", ["model", "kind"], registry=self._registry)
        self._waiting = Gauge("octabox_waiting", "Requests that wait.", ["model"], registry=self._registry)
        self._memory = Gauge(
            "octabox_memory_bytes",
            "Memory that a model holds: resident on the host, reserved on an accelerator.",
            ["model", "place"],
            registry=self._registry,
        )
        self._allocated = Gauge(
            "octabox_memory_allocated_bytes",
            "Memory of an accelerator that a model's tensors use.",
            ["model", "place"],
            registry=self._registry,
        )

    def ended(self, model: str, outcome: str, seconds: float, kinds: Iterable[str] = ()) -> None:
        """Count a request that ended; ``outcome`` is ``ok`` or the name of an error class."""
        self._requests.labels(model, outcome).inc()
        self._seconds.labels(model).observe(seconds)
        for kind in kinds:
            self._artifacts.labels(model, kind).inc()

    def render(self, models: Iterable[ModelStatus]) -> bytes:
        """Return all figures in Prometheus' text format, those of the models as they are now."""
        self._waiting.clear()
        self._memory.clear()
        self._allocated.clear()
        for status in models:
            self._waiting.labels(status.model).set(status.waiting)
            for place, amount in status.memory.items():
                self._memory.labels(status.model, place).set(amount)
            for place, amount in status.allocated.items():
                self._allocated.labels(status.model, place).set(amount)
        return generate_latest(self._registry)
