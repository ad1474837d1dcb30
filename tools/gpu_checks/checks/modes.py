"""Each memory mode and each dtype of a model, served: seconds, steps per second, and memory of host and accelerator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from gpu_checks.bench import Bench, gigabytes
from gpu_checks.runner import Row, require

#: What the largest part of a dozen pixels may differ by between modes that compute the same, of 255.
CLOSE = 8.0


def serve(bench: Bench, model: str, label: str, **settings: Any) -> Iterator[Row]:
    """Load a model with some settings, and ask for the same image twice.

    Args:
        bench: The models and the server.
        model: Name of the architecture.
        label: What the settings are called.
        **settings: What the configuration sets.
    """
    server, params = bench.server, bench.params(model)
    name = bench.configure(model, label, **settings)
    with bench.watch() as loading:
        began = time.perf_counter()
        status = server.load(name)
        seconds = time.perf_counter() - began
    with bench.watch() as running:
        first, second = server.generate(name, params), server.generate(name, params)
    held = (server.status(name) or status)["memory"]
    yield {
        "model": model,
        "settings": label,
        "device": status["device"],
        "load s": seconds,
        "first s": first.run,
        "next s": second.run,
        "it/s": params["num_inference_steps"] / second.run,
        "peak host GB, loading": gigabytes(loading.host),
        "peak host GB, running": gigabytes(running.host),
        "peak device GB, loading": gigabytes(loading.device),
        "peak device GB, running": gigabytes(running.device),
        "GB held after": [f"{place} {amount / 1e9:.2f}" for place, amount in held.items()],
        "difference of two": first.difference(second),
        "warnings": second.warnings,
    }
    require(first.difference(second) <= CLOSE, "the same request gave two images that differ")
    server.unload(name)
