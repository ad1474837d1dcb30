"""A worker is forked from a server that has not touched the accelerator, and uses the accelerator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from gpu_checks.bench import Bench
from gpu_checks.runner import Row, require

#: Files by which a process reaches an accelerator. A process that asks NVML alone, as it may, opens the first kind of NVIDIA's.
DEVICE_FILES = ("/dev/nvidia", "/dev/dri/", "/dev/kfd", "/dev/accel")

#: The one that only a process with a context on the accelerator opens.
CONTEXT_FILE = "/dev/nvidia-uvm"


def start_worker(bench: Bench, model: str) -> Iterator[Row]:
    """Load a model and ask for an image; see how its worker came to be, and where it runs."""
    ready = bench.server.start()
    began = time.perf_counter()
    name = bench.configure(model, "first", dtype="auto")
    status = bench.server.load(name)
    loaded = time.perf_counter() - began
    answer = bench.server.generate(name, bench.params(model, **bench.architecture(model).short))
    parent = psutil.Process(status["pid"]).parent()
    parent_pid = parent.pid if parent else 0
    spawned = parent_pid == bench.server.pid
    reached = [] if spawned else device_files(parent_pid)
    yield {
        "model": model,
        "server ready in s": ready,
        "loaded in s": loaded,
        "first image in s": answer.wall,
        "device": status["device"],
        "worker is made by": "spawn" if spawned else "fork",
        "device files of the fork server": reached,
    }
    require(CONTEXT_FILE not in reached, "the fork server has initialised the accelerator")
    require(str(status["device"]).partition(":")[0] == bench.device, f"the worker runs on {status['device']}")


def device_files(pid: int) -> list[str]:
    """Return the accelerators' files that a process has open."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            target = str(link.readlink())
        except OSError:  # Closed meanwhile.
            continue
        if target.startswith(DEVICE_FILES):
            found.add(target)
    return sorted(found)
