"""What the preload of workers does to CUDA in a fork server, shown without a GPU.

NVML is pretended: it counts one device, as on a machine with a GPU. A build of torch without CUDA is given those functions of
CUDA that an import may call, which count their calls; a build with CUDA keeps its own.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

#: Module that pretends NVML, and CUDA where torch has none, in the process that imports it.
INSTALLED = "pretended_cuda.installed"

#: Variable by which torch is told to count CUDA's devices without initialising it; the preload sets it.
CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"

#: Calls of functions that initialise CUDA, in this process and those it is forked from.
calls: list[str] = []

_load_library = ctypes.CDLL


class _Nvml:
    """NVML's library, with one device."""

    def nvmlInit(self) -> int:  # noqa: N802 (NVML's own name)
        """Succeed."""
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802 (NVML's own name)
        """Write the number of devices."""
        count._obj.value = 1
        return 0


def install() -> None:
    """Pretend NVML in this process, and CUDA's functions of torch where it has none."""
    import torch  # noqa: PLC0415 (only in the fork server)

    ctypes.CDLL = _library  # type: ignore[misc, assignment]
    if torch.version.cuda is None:
        build: Any = torch._C
        build._cuda_getDeviceCount = _counted("_cuda_getDeviceCount", 1)
        for name in ("_cuda_init", "_cuda_getCurrentRawStream"):
            setattr(build, name, _counted(name, None))
        build._accelerator_getAccelerator = lambda: torch.device("cuda")


def _library(name: Any = None, *args: Any, **options: Any) -> Any:
    """Return a library; NVML's is the pretended one."""
    return _Nvml() if str(name).startswith("libnvidia-ml") else _load_library(name, *args, **options)


def _counted(name: str, answer: Any) -> Any:
    """Return a function that notes its call."""

    def called(*_: Any) -> Any:
        calls.append(name)
        return answer

    return called


def _without(name: str) -> dict[str, str]:
    """Return this process's environment without a variable, so that what it is there cannot stand in for what we set."""
    return {key: value for key, value in os.environ.items() if key != name}


def report(connection: Connection) -> None:
    """Send what a forked worker finds."""
    import torch  # noqa: PLC0415 (the fork server has it)

    from octabox.engine.worker.placement.device import find_bad_fork  # noqa: PLC0415

    bad_fork = find_bad_fork()
    facts = {
        "cuda": torch.version.cuda,
        "preloaded": "octabox.engine.worker.preload" in sys.modules,
        "bad_fork": bad_fork.device_types if bad_fork else (),
        "calls": calls,
    }
    connection.send(facts)


def fork_worker() -> None:
    """Fork a worker from a fork server with the preload, and print what it finds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([INSTALLED, "octabox.engine.worker.preload"])
    ours, theirs = context.Pipe()
    process = context.Process(target=report, args=(theirs,))
    process.start()
    sys.stdout.write(json.dumps(ours.recv()))
    process.join()


def worker_finds(python: str = sys.executable, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what a worker finds that is forked in a new process of an interpreter, with these variables too."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [python, "-c", "import pretended_cuda; pretended_cuda.fork_worker()"],
        env={**_without(CHECK), "PYTHONPATH": path, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
