"""Each memory mode and each dtype of a model, served: seconds, steps per second, and memory of host and accelerator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from gpu_checks.bench import Bench, gigabytes
from gpu_checks.runner import Row, require

#: Mean difference of the pixels, of 255, up to which two images of one request and one setting are the same.
CLOSE = 8.0

#: Settings whose image those of all others of a model are compared with.
REFERENCE = "full"


def serve(bench: Bench, model: str, label: str, calls: int = 2, **settings: Any) -> Iterator[Row]:
    """Load a model with some settings, and ask for the same image several times.

    Args:
        bench: The models and the server.
        model: Name of the architecture.
        label: What the settings are called.
        calls: How often the image is asked for, from once; the last is timed.
        **settings: What the configuration sets.
    """
    server, params = bench.server, bench.params(model, **bench.architecture(model).short)
    name = bench.configure(model, label, **settings)
    with bench.watch() as loading:
        began = time.perf_counter()
        server.load(name)
        seconds = time.perf_counter() - began
    with bench.watch() as running:
        answers = [server.generate(name, params) for _ in range(calls)]
        first, last = answers[0], answers[-1]
    status = server.status(name) or {}
    if label == REFERENCE:
        bench.images[model] = last
    reference, speed = bench.images.get(model), status.get("performance") or {}
    yield {
        "model": model,
        "settings": label,
        "device": status.get("device"),
        "load s": seconds,
        "first s": first.run,
        "next s": last.run,
        "it/s": params["num_inference_steps"] / last.run,
        "peak host GB, loading": gigabytes(loading.host),
        "peak host GB, running": gigabytes(running.host),
        "peak device GB, loading": gigabytes(loading.device),
        "peak device GB, running": gigabytes(running.device),
        "GB held after": [f"{place} {amount / 1e9:.2f}" for place, amount in status.get("memory", {}).items()],
        "first to next": first.difference(last),
        f"to {REFERENCE}": last.difference(reference) if reference else None,
        **({"applied": speed.get("applied"), "skipped": speed.get("skipped")} if speed else {}),
        "warnings": last.warnings,
    }
    server.unload(name)
    require(first.difference(last) <= CLOSE, "the same request gave two images that differ")
