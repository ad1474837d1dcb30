"""Memory that runs out, a request that is cancelled, a worker that is killed: the next request is served as before."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

from gpu_checks.bench import Bench, gigabytes
from gpu_checks.checks.modes import CLOSE
from gpu_checks.memory import came_back, device_memory, device_used, scarce
from gpu_checks.runner import CheckFailedError, Row, require
from gpu_checks.serving import Answer, ServedError

#: Events of a request that are waited for before it is interrupted.
BEGUN = 3


def run_out_of_memory(bench: Bench, model: str) -> Iterator[Row]:
    """Request more than fits in memory; the error reports it, and the same worker serves the next smaller request."""
    if device_memory() is None:
        # A worker that has run larger batches keeps memory of the host that it does not use, where the request would fit.
        bench.server.unload_all()
    name, before = _serve_once(bench, model)
    held, status = device_used(), _status(bench, name)
    with scarce(status["pid"], bench.device, bench.sizes.left):
        refused = ""
        try:
            bench.server.generate(name, bench.params(model, **bench.architecture(model).large))
        except ServedError as error:
            refused = error.code
        smaller = bench.server.generate(name, bench.params(model))
    after, left = _status(bench, name), device_used()
    yield {
        "fault": "out of memory",
        "model": model,
        "answer": refused or "an image",
        "next request": "served",
        "the same worker": after["pid"] == status["pid"],
        "difference of the next": smaller.difference(before),
        "device GB before": gigabytes(held),
        "device GB after": gigabytes(left),
    }
    require(refused == "out_of_memory", f"the error of a request that is too large is {refused or 'missing'}")
    require(smaller.difference(before) <= CLOSE, "the next image differs")
    require(came_back(held, left), "memory of the accelerator did not come back")


def cancel(bench: Bench, model: str) -> Iterator[Row]:
    """Cancel a request in the middle; the worker is free within a step, and the next request is as before."""
    name, before = _serve_once(bench, model)
    held = device_used()
    code, seconds = _interrupt(bench, name, model, bench.server.cancel)
    after, left = bench.server.generate(name, bench.params(model)), device_used()
    yield {
        "fault": "cancelled",
        "model": model,
        "answer": code,
        "ended after s": seconds,
        "next request": "served",
        "difference of the next": after.difference(before),
        "device GB before": gigabytes(held),
        "device GB after": gigabytes(left),
    }
    require(code == "cancelled", f"the request ended with {code}")
    require(after.difference(before) <= CLOSE, "the next image differs")
    require(came_back(held, left), "memory of the accelerator did not come back")


def kill(bench: Bench, model: str) -> Iterator[Row]:
    """Kill the two workers that a request may have; the error reports it, and the next request has a new worker."""
    name, before = _serve_once(bench, model)
    held, pids = device_used(), list[int]()

    def kill_worker(_: str) -> None:
        while (status := bench.server.status(name)) is None or status["state"] != "busy" or status["pid"] in pids:
            time.sleep(0.05)
        pids.append(status["pid"])
        os.kill(status["pid"], signal.SIGKILL)

    code, seconds = _interrupt(bench, name, model, kill_worker, times=2)
    began = time.perf_counter()
    after = bench.server.generate(name, bench.params(model))
    seconds_to_next, left = time.perf_counter() - began, device_used()
    yield {
        "fault": "killed",
        "model": model,
        "answer": code,
        "ended after s": seconds,
        "next request": "served",
        "next served in s": seconds_to_next,
        "the same worker": _status(bench, name)["pid"] in pids,
        "difference of the next": after.difference(before),
        "device GB before": gigabytes(held),
        "device GB after": gigabytes(left),
    }
    require(code == "worker_died", f"the request ended with {code}")
    require(after.difference(before) <= CLOSE, "the next image differs")
    require(came_back(held, left), "memory of the accelerator did not come back")


def _serve_once(bench: Bench, model: str) -> tuple[str, Answer]:
    """Return a configured model that is in memory, and its image."""
    # The mode is fixed, so that memory does run out; by itself, the server would choose one that needs less.
    name = bench.configure(model, "faults", memory="full")
    return name, bench.server.generate(name, bench.params(model))


def _status(bench: Bench, name: str) -> dict[str, Any]:
    """Return the status of a model that is in memory.

    Raises:
        CheckFailedError: It is not.
    """
    status = bench.server.status(name)
    if status is None:
        raise CheckFailedError(f"{name} is not in memory any more")
    return status


def _interrupt(bench: Bench, name: str, model: str, act: Any, times: int = 1) -> tuple[str, float]:
    """Begin a long request, act on it in the middle, and return the code of its error and the seconds until it came.

    Args:
        bench: What the checks share.
        name: Name of the configured model.
        model: Architecture of the model.
        act: Is called with the id of the request.
        times: How often it is called; a request runs again after its first worker was killed.

    Raises:
        CheckFailedError: It ended without an error.
    """
    job, steps, acts, acted = f"{name}-{time.monotonic_ns()}", 0, 0, 0.0
    params = bench.params(model, num_inference_steps=bench.sizes.long)
    for event, data in bench.server.stream(name, params, job):
        if event == "error":
            return str(data["error"]["code"]), time.perf_counter() - acted
        steps += event == "progress" and data["phase"] == "running"
        if steps == BEGUN and acts < times:
            acted = time.perf_counter()
            act(job)
            steps, acts = 0, acts + 1
    raise CheckFailedError("the request ended without an error")
