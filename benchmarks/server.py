"""Measure the server itself: time to ready, memory, health while a model runs, recovery from a killed worker.

Targets: ready in under 2 s, under 150 MB, health p99 at most 50 ms, next result within 2 s of the kill.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import threading
import time
from pathlib import Path

import httpx

from measured import server
from octabox import demo

BODY = {
    "model": demo.NAME,
    "prompt": demo.PROMPT,
    "num_inference_steps": 20,
    "guidance_scale": 3,
    "response_format": "b64_json",
}


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        readies = []
        for _ in range(3):
            with server(Path(folder)) as (_, process, ready):
                readies.append(ready)
        with server(Path(folder), "--threads", "1") as (client, process, _):
            print(f"ready after      {statistics.median(readies):8.2f} s (target: under 2)")
            began = time.perf_counter()
            ask(client)
            print(
                f"first image    {time.perf_counter() - began:8.2f} s after ready, libraries imported in the background"
            )
            print(f"server's memory  {resident(process.pid):8.0f} MB (target: under 150)")
            health(client)
            recovery(client)


def ask(client: httpx.Client, **more: object) -> httpx.Response:
    """Ask for an image."""
    return client.post("/v1/images/generations", json={**BODY, **more}).raise_for_status()


def resident(pid: int) -> float:
    """Return a process's resident memory in megabytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def health(client: httpx.Client, seconds: float = 5.0) -> None:
    """Print how fast health answers while a model runs."""
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            ask(client)

    busy = threading.Thread(target=load)
    busy.start()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        client.get("/healthz").raise_for_status()
        times.append(time.perf_counter() - began)
        time.sleep(0.01)
    stop.set()
    busy.join()
    p99 = statistics.quantiles(times, n=100)[98]
    print(f"health           {p99 * 1000:8.1f} ms at p99 of {len(times)} (target: at most 50)")


def recovery(client: httpx.Client) -> None:
    """Print how long it takes from the kill of a worker to the next result."""
    taken = []
    for _ in range(3):
        ask(client)
        (pid,) = [model["status"]["pid"] for model in client.get("/v1/models").json()["data"] if model.get("status")]
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        ask(client)
        taken.append(time.perf_counter() - began)
    print(f"kill to result   {statistics.median(taken):8.2f} s (target: under 2)")


if __name__ == "__main__":
    main()
