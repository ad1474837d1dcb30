"""Measure the backend of LocalAI: seconds to ready, and images per second for 1 and 8 callers compared to the direct loop.

Targets: at least 0.96 of the direct loop; Health p99 at most 50 ms while 8 callers are served.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import torch
from diffusers import DiffusionPipeline

from octabox import demo
from octabox.frontends.grpc.localai import contract

#: Images of each measurement, and steps of each image.
COUNT, STEPS = 24, 20

#: LocalAI's default, and as many workers as callers.
WORKERS = (1, 8)


class Backend:
    """A backend in a separate process, and its calls.

    Args:
        workers: Maximum number of concurrent calls.
    """

    def __init__(self, workers: int) -> None:
        self._log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115 (closed with the backend)
        command = [sys.executable, "-m", "octabox", "backend", "--addr", "127.0.0.1:0", "--threads", "1"]
        env = {**os.environ, "PYTHON_GRPC_MAX_WORKERS": str(workers), "OCTABOX_LOG_LEVEL": "error"}
        began = time.perf_counter()
        self._process = subprocess.Popen(command, env=env, stderr=self._log)
        while not (found := re.search(r"at (\S+:\d+)\n", Path(self._log.name).read_text(encoding="utf-8"))):
            if self._process.poll() is not None:
                raise SystemExit(f"the backend ended with {self._process.returncode}")
            time.sleep(0.01)
        self._channel = grpc.insecure_channel(found[1], options=[("grpc.enable_http_proxy", 0)])
        self.call("Health")
        self.ready = time.perf_counter() - began

    def call(self, method: str, **fields: Any) -> Any:
        """Call a method."""
        asked, response_type = contract.methods()[method]
        stub = self._channel.unary_unary(
            f"/{contract.SERVICE}/{method}",
            request_serializer=asked.SerializeToString,
            response_deserializer=response_type.FromString,
        )
        return stub(asked(**fields), timeout=600)

    def close(self) -> None:
        """End the backend."""
        self._channel.close()
        self._process.terminate()
        self._process.wait(20)
        self._log.close()


def main() -> None:
    """Print the figures."""
    torch.set_num_threads(1)
    pipe = DiffusionPipeline.from_pretrained(demo.FOLDER)
    pipe.set_progress_bar_config(disable=True)
    with tempfile.TemporaryDirectory() as folder:

        def direct(seed: int) -> None:
            generator = torch.Generator("cpu").manual_seed(seed)
            output = pipe(demo.PROMPT, num_inference_steps=STEPS, guidance_scale=3.0, generator=generator)
            output.images[0].save(Path(folder) / f"direct-{seed}.png")

        direct(0)
        for workers in WORKERS:
            backend = Backend(workers)
            try:
                measure(backend, workers, direct, Path(folder))
            finally:
                backend.close()


def measure(backend: Backend, workers: int, direct: Callable[[int], None], folder: Path) -> None:
    """Print the figures of one backend."""
    print(f"PYTHON_GRPC_MAX_WORKERS={workers}")
    print(f"  ready after    {backend.ready:8.2f} s (target: under 2)")
    began = time.perf_counter()
    backend.call("LoadModel", Model="painter", ModelFile=str(demo.FOLDER), Options=["guidance_scale:3"])
    print(f"  model loaded   {time.perf_counter() - began:8.2f} s later, libraries imported meanwhile")

    def ask(seed: int) -> None:
        fields = {"positive_prompt": demo.PROMPT, "step": STEPS, "seed": seed, "dst": str(folder / f"{seed}.png")}
        backend.call("GenerateImage", **fields)

    ask(0)

    def loop() -> None:
        for seed in range(COUNT // 2):
            direct(seed)

    for callers in (1, 8):
        health: list[float] = []

        def served(callers: int = callers, health: list[float] = health) -> None:
            with ThreadPoolExecutor(callers) as pool:
                watched(pool, ask, backend, health)

        # In turn with the direct loop, so that both meet the same machine.
        before, seconds, after = duration(loop), duration(served), duration(loop)
        alone, many = COUNT / (before + after), COUNT / seconds
        worst = statistics.quantiles(health, n=100)[-1] * 1000
        print(
            f"  {callers} callers      {many:8.2f} images/s, {many / alone:.2f} of the direct loop's {alone:.2f}"
            f" (target: at least 0.96); Health p99 {worst:.1f} ms (target: at most 50)"
        )


def watched(pool: ThreadPoolExecutor, ask: Callable[[int], None], backend: Backend, health: list[float]) -> None:
    """Ask for all images, and note how long Health takes meanwhile."""
    asked = [pool.submit(ask, seed) for seed in range(COUNT)]
    while not all(each.done() for each in asked):
        began = time.perf_counter()
        backend.call("Health")
        health.append(time.perf_counter() - began)
        time.sleep(0.05)
    for each in asked:
        each.result()


def duration(work: Callable[[], None]) -> float:
    """Return how many seconds some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
