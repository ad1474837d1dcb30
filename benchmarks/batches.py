"""Measure what batches are worth: callers of the embedded model, served in batches and one by one, by one server in one run.

Both are the same model under two names; they take turns, so that other work of the machine disturbs both. Targets: at least 1.3
times as many images of 128x128 for 8 callers, and never less than 0.98 times as many of 256x256.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import httpx

from measured import server
from octabox import demo

#: Names of the models, and their configuration.
MODELS = {"batched": "auto", "single": "never"}

#: Sides of the images, the steps of each, and the target of the ratio.
SIZES = ((128, 20, 1.3), (256, 4, 0.98))

_seeds = count(1)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=48, help="images of a model in a round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, batching in MODELS.items():
            text = f"model: {demo.FOLDER}\nbatching: {batching}\n"
            (Path(folder) / f"{name}.yaml").write_text(text, encoding="utf-8")
        with server(Path(folder), "--threads", "1", "--queue-size", "100") as (client, _, _):
            for side, steps, target in SIZES:
                for callers in options.callers:
                    compare(client, callers, side, steps, target, options.rounds, options.images)


def compare(client: httpx.Client, callers: int, side: int, steps: int, target: float, rounds: int, images: int) -> None:
    """Print how many more images are made in batches, by rounds in which the models take turns."""
    for name in MODELS:
        throughput(client, name, callers, side, steps, images)  # Until the times of all sizes are learned.
    pairs = []
    for _ in range(rounds):
        batched, single = (throughput(client, name, callers, side, steps, images) for name in MODELS)
        pairs.append((batched, single))
    ratio = statistics.median(batched / single for batched, single in pairs)
    both = "/".join(f"{statistics.median(each):.2f}" for each in zip(*pairs, strict=True))
    listed = ", ".join(f"{batched / single:.2f}" for batched, single in pairs)
    (model,) = [each for each in client.get("/v1/models").json()["data"] if each["id"] == "batched"]
    learned = model["status"]["performance"]["applied"].get("batching", "single runs")
    print(
        f"{side}x{side}, {callers:2} callers {ratio:6.2f} (target: {target}) of {listed}; {both} images/s; {learned}",
        flush=True,
    )


def throughput(client: httpx.Client, model: str, callers: int, side: int, steps: int, images: int) -> float:
    """Return the images by second that callers get, each of whom sends the next request after the last result."""
    body = {
        "model": model,
        "prompt": demo.PROMPT,
        "size": f"{side}x{side}",
        "num_inference_steps": steps,
        "guidance_scale": 3,
        "response_format": "b64_json",
    }

    def ask(_: int) -> None:
        client.post("/v1/images/generations", json={**body, "seed": next(_seeds)}).raise_for_status()

    began = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(ask, range(images)))
    return images / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
