"""Compare a served request with the direct call of the same pipeline, in turn, in one run.

Target: at most 10 ms more, or 3 % for a call of a second or more; saturated throughput at least 0.96 of the direct loop.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import torch
from diffusers import DiffusionPipeline

from measured import server
from octabox import demo

#: Pairs of calls that are timed, and steps of each.
PAIRS, STEPS = 20, 20

REQUEST = {"model": demo.NAME, "prompt": demo.PROMPT, "num_inference_steps": STEPS, "guidance_scale": 3, "seed": 1}


def main() -> None:
    """Print the figures."""
    torch.set_num_threads(1)
    pipe = DiffusionPipeline.from_pretrained(demo.FOLDER)
    pipe.set_progress_bar_config(disable=True)

    def direct() -> None:
        generator = torch.Generator("cpu").manual_seed(1)
        output = pipe(demo.PROMPT, num_inference_steps=STEPS, guidance_scale=3.0, generator=generator)
        output.images[0].save(io.BytesIO(), "PNG")

    with tempfile.TemporaryDirectory() as folder, server(Path(folder), "--threads", "1") as (client, _, _):
        runs: list[float] = []

        def served() -> None:
            answer = client.post("/v1/images/generations", json={**REQUEST, "response_format": "b64_json"})
            runs.append(answer.raise_for_status().json()["timings"]["run"])

        for warm in (direct, served, direct, served):
            warm()
        pairs = [(_seconds(direct), _seconds(served)) for _ in range(PAIRS)]
        report(pairs)
        around = statistics.median(wall - run for (_, wall), run in zip(pairs, runs[-PAIRS:], strict=True))
        print(f"outside the run  {around * 1000:8.1f} ms of a served request: HTTP, checks, queue, pipe, encoding")
        saturate(client, statistics.median(pair[0] for pair in pairs))


def report(pairs: list[tuple[float, float]]) -> None:
    """Print what a served request takes more than the direct one."""
    direct, served = (statistics.median(column) for column in zip(*pairs, strict=True))
    more = statistics.median(b - a for a, b in pairs)
    print(f"direct call      {direct * 1000:8.1f} ms (median of {PAIRS})")
    print(f"served request   {served * 1000:8.1f} ms")
    print(f"difference       {more * 1000:8.1f} ms, {more / direct:.1%} (target: at most 10 ms or 3 %)")


def saturate(client: httpx.Client, direct: float, callers: int = 4, count: int = 24) -> None:
    """Print the throughput of several concurrent callers against a loop of direct calls."""

    def ask(seed: int) -> None:
        body = {**REQUEST, "seed": seed, "response_format": "b64_json"}
        httpx.post(
            f"{client.base_url}/v1/images/generations", json=body, timeout=600, trust_env=False
        ).raise_for_status()

    began = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(ask, range(count)))
    rate = count / (time.perf_counter() - began)
    print(
        f"{callers} callers        {rate:8.2f} images/s, {rate * direct:.2f} of the direct loop (target: at least 0.96)"
    )


def _seconds(function: object) -> float:
    began = time.perf_counter()
    function()  # type: ignore[operator]
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
