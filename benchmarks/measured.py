"""A server in a separate process, for benchmarks."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(folder: Path, *flags: str) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes], float]]:
    """Start a server over the models of a folder; yield a client, the process, and the seconds until it was ready."""
    port, began = free_port(), time.perf_counter()
    command = [sys.executable, "-m", "octabox", "serve", "--port", str(port), "--models", str(folder), *flags]
    process = subprocess.Popen(command, env={**os.environ, "OCTABOX_LOG_LEVEL": "error"}, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if client.get("/readyz").is_success:
                        break
                if process.poll() is not None:
                    raise SystemExit(f"the server ended with {process.returncode}")
                time.sleep(0.01)
            yield client, process, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(20)
