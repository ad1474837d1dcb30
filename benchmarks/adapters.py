"""Time requests with a LoRA against those without, and look for traces over many that alternate; time remembered prompts.

Targets: a request with a LoRA that is in memory takes at most 1.05 times one that is otherwise the same, without it;
200 requests that alternate adapters leave no trace in the images of those without, and less than 5 % more memory.
"""

from __future__ import annotations

import base64
import io
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from measured import server
from octabox import demo

#: Where the LoRAs of the embedded model are.
LORAS = Path(__file__).parents[1] / "tests" / "data" / "adapters" / "loras"

#: Pairs of requests that are timed, requests that alternate, and steps of each.
PAIRS, ALTERNATING, STEPS = 20, 200, 20

#: Prompts that are timed by how they are read: a short one, and a long one with many weights.
PROMPTS = {
    "plain": "a large {colour} star number {number} on a blue background",
    "a1111": ", ".join(["a (large:1.2) ({colour}:1.3) star number {number} on a [blue] background"] * 6),
}

#: What takes turns in them, so that each is new, and the steps of those requests: few, for it is the prompt that is timed.
COLOURS, FEW = ("red", "green", "blue", "yellow", "white"), 4

#: What the requests that alternate ask for, in turn.
KINDS: tuple[tuple[Any, ...], ...] = (
    (),
    ("hearts",),
    (),
    ({"lora": "frame", "weight": 0.5},),
    (),
    ("hearts", {"lora": "frame", "weights": {"unet": 0.7}}),
)


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(LORAS, Path(folder) / "loras")
        with server(Path(folder), "--threads", "1") as (client, _, _):
            time_requests(client)
            time_prompts(client)
            alternate(client)


def ask(
    client: httpx.Client, *adapters: Any, steps: int = STEPS, prompt: str = demo.PROMPT, syntax: str = "plain"
) -> tuple[bytes, float]:
    """Return the pixels of an image, and the seconds of its run."""
    params = {"prompt": prompt, "num_inference_steps": steps, "guidance_scale": 3}
    body = {"model": demo.NAME, "params": params, "seed": 1, "adapters": adapters, "output": {"response": "b64_json"}}
    body |= {"prompt_syntax": syntax}
    answer = client.post("/v1/generations", json=body).raise_for_status().json()
    content = base64.b64decode(answer["outputs"][0]["b64_json"])
    return Image.open(io.BytesIO(content)).tobytes(), answer["timings"]["run"]


def time_requests(client: httpx.Client) -> None:
    """Print how long the first and the next request with a LoRA take, and those without once it is in memory."""
    for _ in range(2):
        ask(client)
    plain = statistics.median(ask(client)[1] for _ in range(PAIRS // 2))
    first = ask(client, "hearts")[1]
    # In groups of four, so that other load of the machine affects all equally.
    rows = [[ask(client, *adapters)[1] for adapters in ((), (), ("hearts",), ("hearts",))] for _ in range(PAIRS)]
    changed = statistics.median(row[2] / row[1] for row in rows)
    within = statistics.median(row[3] / row[1] for row in rows)
    print(f"without, none in memory  {plain * 1000:8.1f} ms")
    print(f"without, one in memory   {statistics.median(row[1] for row in rows) * 1000:8.1f} ms (median of {PAIRS})")
    print(f"first with a LoRA        {first * 1000:8.1f} ms, its load included")
    print(f"next with a LoRA         {statistics.median(row[3] for row in rows) * 1000:8.1f} ms")
    print(f"switched on              {changed:8.2f} times one without")
    print(f"next                     {within:8.2f} times one without (target: at most 1.05)")


def time_prompts(client: httpx.Client) -> None:
    """Print how long a request takes whose prompt is remembered, against one whose prompt is new."""
    for syntax, words in PROMPTS.items():
        rows = []
        for number in range(PAIRS + 1):
            prompt = words.format(colour=COLOURS[number % len(COLOURS)], number=number)
            (first, new), (second, known) = (ask(client, steps=FEW, prompt=prompt, syntax=syntax) for _ in range(2))
            if first != second:
                raise SystemExit(f"a remembered prompt gave another image: {prompt}")
            rows.append((new, known))
        rows = rows[1:]  # The very first loads what reads prompts of this syntax.
        new = statistics.median(row[0] for row in rows)
        ratio = statistics.median(known / new for new, known in rows)
        print(f"{syntax} prompt, new {'':6} {new * 1000:8.1f} ms ({FEW} steps, median of {PAIRS})")
        print(f"{syntax} prompt, remembered {ratio:7.2f} times one that is new")


def alternate(client: httpx.Client) -> None:
    """Print what many requests that alternate adapters leave behind."""
    for adapters in KINDS:
        expected, _ = ask(client, *adapters, steps=4)
    expected, began = ask(client, steps=4)[0], time.perf_counter()
    held, strange = memory(client), 0
    for number in range(ALTERNATING):
        adapters = KINDS[number % len(KINDS)]
        made, _ = ask(client, *adapters, steps=4)
        strange += made != expected if not adapters else made == expected
    more = memory(client) / held - 1
    seconds = time.perf_counter() - began
    print(f"{ALTERNATING} alternating requests in {seconds:.0f} s: {strange} images with a trace (target: 0)")
    print(f"memory of the worker     {held / 2**20:8.1f} MiB, then {more:+.1%} (target: below +5 %)")


def memory(client: httpx.Client) -> int:
    """Return the bytes that the model's worker holds."""
    return int(client.get(f"/v1/models/{demo.NAME}").raise_for_status().json()["status"]["memory"]["host"])


if __name__ == "__main__":
    main()
