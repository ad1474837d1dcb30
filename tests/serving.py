"""A real server in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import httpx


@contextlib.contextmanager
def running_server(models: Path, *flags: str, environment: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """Run ``octabox serve`` on a free port until the end of the block, and yield its address.

    Args:
        models: Its folder of models.
        *flags: Other flags.
        environment: What is set in its environment, beside what is set here.
    """
    command = [
        sys.executable,
        "-m",
        "octabox",
        "serve",
        "--port",
        "0",
        "--models",
        str(models),
        "--threads",
        "1",
        *flags,
    ]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", **environment}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if "http://" in line)
            url = line[line.index("http://") :].strip()
            # A pipe that nobody reads is full some day, and the server then waits for ever.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            wait_until_ready(url)
            yield url
        finally:
            process.terminate()
            process.wait(60)


def wait_until_ready(url: str) -> None:
    """Wait until a server says that it is ready."""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", trust_env=False).is_success:
                return
        time.sleep(0.05)
    raise AssertionError("the server did not become ready")
