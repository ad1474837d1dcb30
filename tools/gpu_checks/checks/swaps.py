"""Two models take turns where there is room for one: seconds of a swap, and memory before and after all."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil

from gpu_checks.bench import Bench, gigabytes
from gpu_checks.memory import came_back, device_used
from gpu_checks.runner import Row, require


def swap(bench: Bench, model: str) -> Iterator[Row]:
    """Ask two models in turn; each request ends the worker of the other."""
    names = [bench.configure(model, f"swap-{number}") for number in (1, 2)]
    params, server = bench.params(model, num_inference_steps=4), bench.server
    answers = [server.generate(name, params) for name in names]
    server.unload(names[1])
    before, host, begun = device_used(), _server_memory(bench), time.perf_counter()
    differences = []
    for number in range(bench.sizes.swaps):
        answer = server.generate(names[number % 2], params)
        differences.append(answer.difference(answers[number % 2]))
    seconds = time.perf_counter() - begun
    server.unload(names[(bench.sizes.swaps - 1) % 2])
    after = device_used()
    yield {
        "model": model,
        "swaps": bench.sizes.swaps,
        "s of a swap and an image": seconds / bench.sizes.swaps,
        "device GB before": gigabytes(before),
        "device GB after": gigabytes(after),
        "server MB before": host / 1e6,
        "server MB after": _server_memory(bench) / 1e6,
        "largest difference of an image": max(differences),
    }
    require(came_back(before, after), "memory of the accelerator did not come back")


def _server_memory(bench: Bench) -> int:
    """Return the bytes that the server and what it always runs hold on the host while no model is in memory."""
    server = psutil.Process(bench.server.pid)
    return sum(each.memory_info().rss for each in (server, *server.children(recursive=True)))
