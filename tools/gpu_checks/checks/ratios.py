"""A served request compared to the direct call of the same pipeline, and Octabox's loading compared to diffusers'."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from gpu_checks.bench import Bench, gigabytes
from gpu_checks.runner import Row


def compare_with_direct(bench: Bench, model: str) -> Iterator[Row]:
    """Time served requests and direct calls in turn; both models are in memory meanwhile."""
    params, name = bench.params(model), bench.configure(model, "ratio")
    with bench.watch() as watch:
        began = time.perf_counter()
        bench.server.load(name)
        seconds = time.perf_counter() - began
    loaded = bench.load_plain(model)
    for _ in range(2):
        bench.direct.call(params)
        bench.server.generate(name, params)
    pairs = [
        (bench.direct.call(params)["seconds"], bench.server.generate(name, params)) for _ in range(bench.sizes.pairs)
    ]
    bench.direct.unload()
    plain = statistics.median(pair[0] for pair in pairs)
    yield {
        "model": model,
        "direct s": plain,
        "served s": statistics.median(pair[1].wall for pair in pairs),
        "run s of it": statistics.median(pair[1].run for pair in pairs),
        "served / direct": statistics.median(served.wall / alone for alone, served in pairs),
        "diffusers loads in s": loaded["seconds"],
        "Octabox loads in s": seconds,
        "peak host GB, diffusers": gigabytes(loaded["host"]),
        "peak host GB, Octabox": gigabytes(watch.host),
        "peak device GB, diffusers": gigabytes(loaded["device"]),
        "peak device GB, Octabox": gigabytes(watch.device),
    }
    bench.server.unload(name)
