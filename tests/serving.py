"""A real server in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
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
    with started_server(models, *flags, environment=environment) as (url, _):
        yield url


@contextlib.contextmanager
def started_server(
    models: Path, *flags: str, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run ``octabox serve`` as `running_server` does, and yield its address and its process.

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
    with (
        tempfile.TemporaryDirectory(prefix="octabox-test-", ignore_cleanup_errors=True) as data,
        subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OCTABOX_DATA_DIR": data, **environment},
        ) as process,
    ):
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if "http://" in line)
            url = line[line.index("http://") :].strip()
            # A pipe that nobody reads is full some day, and the server then waits for ever.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            wait_until_ready(url)
            yield url, process
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
