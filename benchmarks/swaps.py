"""Swap three models that take turns in memory, and compare what the server and its fork server hold before and after.

One model may be in memory, so that each request loads another one. Targets: after 100 swaps, the memory of both processes is
within 5 % of that after the first ones, one worker is left, and no file or open descriptor more. Ends with 1 if one is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from measured import server
from octabox import demo

#: Names of the models.
MODELS = ("one", "two", "three")

#: Swaps before the first measurement, in which caches of the processes fill, and the share by which memory may differ then.
WARM, TOLERANCE = 9, 0.05

#: Seconds in which processes that were ended must be gone.
GRACE = 20


@dataclass(frozen=True)
class State:
    """What the processes hold.

    Args:
        memory: Bytes by process: the median of some measurements.
        descriptors: Open file descriptors of the server.
        workers: How many workers there are.
        files: Files in the folders of the server.
    """

    memory: dict[str, float]
    descriptors: int
    workers: int
    files: frozenset[str]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models, data, temporary = (Path(folder) / name for name in ("models", "data", "temporary"))
        for each in (models, temporary):
            each.mkdir()
        for name in MODELS:
            # A model of its own, since configurations that load the same weights share a process.
            (models / f"{name}.yaml").write_text(f"model: {demo.FOLDER}\nrevision: {name}\n", encoding="utf-8")
        os.environ["TMPDIR"] = str(temporary)
        flags = ("--threads", "1", "--max-resident", "1", "--data-dir", str(data))
        with server(models, *flags) as (client, process, _):
            swap(client, WARM)
            before = measure(process.pid, data, temporary)
            seconds = swap(client, options.swaps)
            after = measure(process.pid, data, temporary)
            children = psutil.Process(process.pid).children(recursive=True)
        left = psutil.wait_procs(children, timeout=GRACE)[1]
        ok = report(options.swaps, seconds, before, after, len(left))
    sys.exit(0 if ok else 1)


def swap(client: httpx.Client, count: int) -> list[float]:
    """Send requests to the models in turn; return the seconds of each."""
    taken = []
    for index in range(count):
        body = {"model": MODELS[index % len(MODELS)], "prompt": demo.PROMPT, "size": "64x64", "num_inference_steps": 1}
        began = time.perf_counter()
        client.post("/v1/images/generations", json={**body, "response_format": "b64_json"}).raise_for_status()
        taken.append(time.perf_counter() - began)
    return taken


def measure(pid: int, *folders: Path) -> State:
    """Return what the server and its processes hold now."""
    main_process = psutil.Process(pid)
    # Workers are children of the fork server; another child of the server is the tracker of multiprocessing.
    children = main_process.children()
    fork_server = max(children, key=lambda each: (len(each.children()), each.memory_info().rss))
    samples: dict[str, list[float]] = {"server": [], "fork server": []}
    for _ in range(10):
        samples["server"].append(main_process.memory_info().rss)
        samples["fork server"].append(fork_server.memory_info().rss)
        time.sleep(0.1)
    files = frozenset(str(each) for folder in folders for each in folder.rglob("*") if each.is_file())
    memory = {name: statistics.median(values) for name, values in samples.items()}
    return State(memory, main_process.num_fds(), len(fork_server.children()), files)


def report(swaps: int, seconds: list[float], before: State, after: State, left: int) -> bool:
    """Print the figures; return whether the targets are reached."""
    print(f"swaps            {swaps}, {statistics.median(seconds):.2f} s each at the median")
    ok = True
    for name, held in before.memory.items():
        change = after.memory[name] / held - 1
        ok &= abs(change) <= TOLERANCE
        print(f"{name:16} {held / 2**20:.1f} to {after.memory[name] / 2**20:.1f} MiB, {change:+.1%} (target: 5 %)")
    more = sorted(after.files - before.files)
    print(f"descriptors      {before.descriptors} to {after.descriptors} (target: as many)")
    print(f"workers          {after.workers} (target: 1)")
    print(f"files more       {len(more)} (target: 0) {', '.join(more[:5])}")
    print(f"processes left   {left} (target: 0)")
    return ok and after.descriptors <= before.descriptors and after.workers == 1 and not more and not left


if __name__ == "__main__":
    main()
