"""Measure the catalog: listing from the cache, reading the source, importing every class; each in a new process.

Target: listing in under 0.5 s once cached, Python's own start included.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

LIST = "from octabox.cli.main import cli; cli(['pipelines', '--json'], standalone_mode=False)"
IMPORT = "import diffusers\nfor name in dir(diffusers):\n    try: getattr(diffusers, name)\n    except Exception: pass"


def measure(code: str, cache: str, times: int = 1) -> tuple[float, float]:
    """Return the median seconds and the largest memory in MB of processes that run some code."""
    seconds = []
    report = "\nimport resource, sys; sys.stderr.write(f'\\n{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}')"
    memory = 0.0
    for _ in range(times):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code + report],
            env={**os.environ, "OCTABOX_CACHE_DIR": cache},
            capture_output=True,
            text=True,
            check=True,
        )
        seconds.append(time.perf_counter() - began)
        memory = max(memory, float(done.stderr.split()[-1]) / (1024 if sys.platform == "linux" else 1024**2))
    return statistics.median(seconds), memory


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as cache:
        for words, code, times in (
            ("reading the source", LIST, 1),
            ("listing from the cache", LIST, 7),
            ("importing every class", IMPORT, 1),
        ):
            seconds, memory = measure(code, cache, times)
            print(f"{words:<24}{seconds:8.2f} s {memory:8.0f} MB")
    print(
        f"(target: listing in under 0.50 s; this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB)"
    )


if __name__ == "__main__":
    main()
