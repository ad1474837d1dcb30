"""Measure what a server reaches under load: callers of the embedded model, in batches and one by one, by one server in one run.

The models take turns, so that other work of the machine disturbs them equally. Targets: at least 1.3 times as many images of
128x128 in batches for 8 callers, and never less than 0.98 times as many of 256x256; without batches, 16 callers reach at least
0.97 of a loop of direct calls; one caller waits at most 3 % longer than for the direct call, at the median of seven runs on an
idle machine. ``--runs 7`` repeats all, and prints the medians.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from measured import server
from octabox import demo

#: Names of the models, and their configuration.
MODELS = {"batched": "auto", "single": "never"}

#: Steps and the target of the ratio by the sides of the images; other sides have those of the nearest.
SIZES = {128: (20, 1.3), 256: (4, 0.98)}

#: Callers of the saturated server, and its target of the direct loop.
SATURATED, SATURATED_TARGET = 16, 0.97

#: Pairs of a served and a direct call in a run, and the most that a served one may take longer.
PAIRS, OVERHEAD_TARGET = 20, 0.03

_seeds = count(1)


def main() -> None:
    """Print the figures of each run, and their medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="how often all is measured")
    parser.add_argument("--callers", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--sides", type=int, nargs="+", default=[*SIZES])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of a comparison, in which the models take turns")
    parser.add_argument("--images", type=int, default=48, help="images of a model in a round")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of a served and a direct call")
    options = parser.parse_args()
    direct = direct_call()
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, batching in MODELS.items():
            text = f"model: {demo.FOLDER}\nbatching: {batching}\n"
            (Path(folder) / f"{name}.yaml").write_text(text, encoding="utf-8")
        with server(Path(folder), "--threads", "1", "--queue-size", "100") as (client, _, _):
            for run in range(options.runs):
                print(f"run {run + 1} of {options.runs}", flush=True)
                for name, value in measure(client, direct, options):
                    found.setdefault(name, []).append(value)
    for name, values in found.items():
        print(f"{name:42} {statistics.median(values):7.3f}  median of {', '.join(f'{each:.3f}' for each in values)}")


def measure(client: httpx.Client, direct: Callable[[], None], options: argparse.Namespace) -> list[tuple[str, float]]:
    """Return the figures of one run by name, with their targets, and print each."""
    figures = []
    for side in options.sides:
        for callers in options.callers:
            steps, target = SIZES[min(SIZES, key=lambda each: abs(each - side))]
            name = f"{side}x{side}, {callers} callers (at least {target})"
            figures.append((name, compare(client, callers, side, steps, options)))
    name = f"{SATURATED} callers, never batched (at least {SATURATED_TARGET})"
    figures.append((name, saturate(client, direct, options)))
    figures.append((f"one caller (at most {OVERHEAD_TARGET})", overhead(client, direct, options.pairs)))
    return figures


def compare(client: httpx.Client, callers: int, side: int, steps: int, options: argparse.Namespace) -> float:
    """Return how many more images are made in batches, by rounds in which the models take turns, and print that."""
    for name in MODELS:
        throughput(client, name, callers, side, steps, options.images)  # Until the times of all sizes are learned.
    pairs = []
    for _ in range(options.rounds):
        batched, single = (throughput(client, name, callers, side, steps, options.images) for name in MODELS)
        pairs.append((batched, single))
    ratio = statistics.median(batched / single for batched, single in pairs)
    both = "/".join(f"{statistics.median(each):.2f}" for each in zip(*pairs, strict=True))
    listed = ", ".join(f"{batched / single:.2f}" for batched, single in pairs)
    (model,) = [each for each in client.get("/v1/models").json()["data"] if each["id"] == "batched"]
    learned = model["status"]["performance"]["applied"].get("batching", "single runs")
    print(f"{side}x{side}, {callers:2} callers {ratio:6.2f} of {listed}; {both} images/s; {learned}", flush=True)
    return ratio


def throughput(client: httpx.Client, model: str, callers: int, side: int, steps: int, images: int) -> float:
    """Return the images by second that callers get, each of whom sends the next request after the last result."""
    body = request(model, side, steps)

    def ask(_: int) -> None:
        client.post("/v1/images/generations", json={**body, "seed": next(_seeds)}).raise_for_status()

    began = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(ask, range(images)))
    return images / (time.perf_counter() - began)


def request(model: str, side: int, steps: int) -> dict[str, Any]:
    """Return the body of a request."""
    return {
        "model": model,
        "prompt": demo.PROMPT,
        "size": f"{side}x{side}",
        "num_inference_steps": steps,
        "guidance_scale": 3,
        "response_format": "b64_json",
    }


def direct_call() -> Callable[[], None]:
    """Return what calls the pipeline directly, as a request of 128x128 does, with one thread."""
    import torch  # noqa: PLC0415 (it takes seconds, which `--help` does not need)
    from diffusers import DiffusionPipeline  # noqa: PLC0415

    torch.set_num_threads(1)
    pipe = DiffusionPipeline.from_pretrained(demo.FOLDER)
    pipe.set_progress_bar_config(disable=True)
    steps = SIZES[128][0]

    def call() -> None:
        generator = torch.Generator("cpu").manual_seed(next(_seeds))
        output = pipe(
            demo.PROMPT, num_inference_steps=steps, guidance_scale=3.0, generator=generator, width=128, height=128
        )
        output.images[0].save(io.BytesIO(), "PNG")

    return call


def saturate(client: httpx.Client, direct: Callable[[], None], options: argparse.Namespace) -> float:
    """Return the throughput of callers whose requests run singly, by that of a loop of direct calls, and print that."""
    ratios: list[float] = []
    for _ in range(options.rounds):
        served = throughput(client, "single", SATURATED, 128, SIZES[128][0], options.images)
        began = time.perf_counter()
        for _ in range(options.images):
            direct()
        ratios.append(served * (time.perf_counter() - began) / options.images)
    listed = ", ".join(f"{each:.2f}" for each in ratios)
    print(f"saturated {statistics.median(ratios):15.2f} of the direct loop, of {listed}", flush=True)
    return statistics.median(ratios)


def overhead(client: httpx.Client, direct: Callable[[], None], pairs: int) -> float:
    """Return by how much a served request takes longer than the direct call, as a part of the latter, and print that."""
    body = request("single", 128, SIZES[128][0])

    def served() -> None:
        client.post("/v1/images/generations", json={**body, "seed": next(_seeds)}).raise_for_status()

    for warm in (direct, served):
        warm()
    found = [(seconds(direct), seconds(served)) for _ in range(pairs)]
    alone = statistics.median(each for each, _ in found)
    more = statistics.median(second - first for first, second in found)
    print(f"one caller {more * 1000:14.1f} ms more than {alone * 1000:.1f} ms, {more / alone:.1%}", flush=True)
    return more / alone


def seconds(function: Callable[[], None]) -> float:
    """Return the duration of a call."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
