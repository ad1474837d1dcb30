"""How much memory is held, seen from outside the processes that hold it; and how it is made scarce."""

from __future__ import annotations

import contextlib
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import psutil
import torch
from typing_extensions import Self

from octabox.engine.worker.placement import process_memory

#: Seconds between two looks.
INTERVAL = 0.02

#: How much more memory may be in use after something than before it: as a part, and in bytes, for an allocator's blocks.
GROWN, SLACK = 1.01, 256 * 2**20


def device_memory() -> tuple[int, int] | None:
    """Return the free and the total memory of the accelerator in bytes; None without an accelerator."""
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or not torch.accelerator.is_available():
        return None
    known = process_memory.device_memory(f"{accelerator.type}:0")
    return None if known is None else known[:2]


def device_used() -> int | None:
    """Return the used memory of the accelerator in bytes, by all processes; None without an accelerator."""
    memory = device_memory()
    return None if memory is None else memory[1] - memory[0]


def came_back(before: int | None, after: int | None) -> bool:
    """Return whether no more memory is in use than before; where there is no accelerator, none can be lost."""
    return before is None or after is None or after <= before * GROWN + SLACK


def forget_peak(pid: int) -> None:
    """Let the largest resident memory of a process count from now on, where the system can."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def peak_of(pid: int) -> int:
    """Return the largest resident memory of a process in bytes, or what it is now where the system keeps no largest."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


class Watch:
    """Keeps the largest amounts of memory that are held within the context.

    Args:
        pid: Process whose descendants hold the memory of the host.
    """

    def __init__(self, pid: int) -> None:
        self._process, self._stop = psutil.Process(pid), threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory", daemon=True)
        self.host = 0
        self.device: int | None = device_used()

    def __enter__(self) -> Self:
        for each in self._process.children(recursive=True):
            forget_peak(each.pid)
        if self.device is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self.device is not None:
            self._thread.join()
        with contextlib.suppress(psutil.Error):
            self.host = max(peak_of(each.pid) for each in (self._process, *self._process.children(recursive=True)))

    def _look(self) -> None:
        while not self._stop.wait(INTERVAL):
            self.device = max(self.device or 0, device_used() or 0)


@contextlib.contextmanager
def scarce(worker: int, device: str, left: int) -> Iterator[None]:
    """Leave a worker little more memory than it holds within the context.

    On an accelerator this process takes what is free, so that the worker meets what it would meet on a full one. On a processor
    the worker's address space is limited.

    Args:
        worker: Its process.
        device: Where it runs.
        left: Bytes that it may still take.
    """
    memory = device_memory()
    if memory is not None:
        ballast = torch.empty(max(memory[0] - left, 0), dtype=torch.uint8, device=device)
        try:
            yield
        finally:
            del ballast
            process_memory.release_memory(device)
        return
    limits = limit_address_space(worker, (psutil.Process(worker).memory_info().vms + left, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            limit_address_space(worker, limits)


def limit_address_space(pid: int, limits: tuple[int, int] | None) -> tuple[int, int]:
    """Limit the address space of another process, and return its limits of before; None changes nothing.

    Raises:
        NotImplementedError: Only Linux can do this.
    """
    if sys.platform != "linux":
        raise NotImplementedError("the address space of another process can be limited on Linux alone")
    if limits is None:
        return resource.prlimit(pid, resource.RLIMIT_AS)
    return resource.prlimit(pid, resource.RLIMIT_AS, limits)
