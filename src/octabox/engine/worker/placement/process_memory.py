"""Measure the memory that a worker holds on the host and on its device, and release cached memory."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from octabox.config.model import ACCELERATOR
from octabox.engine.messages import Memory

logger = logging.getLogger("octabox.worker")

#: Functions of `torch.accelerator` and of device modules that return allocated, largest or reserved bytes; those of the
#: second tuple take no device index (torch.mps).
ALLOCATED = ("memory_allocated",), ("current_allocated_memory",)
PEAK = ("max_memory_allocated",), ()
RESERVED = ("memory_reserved",), ("driver_allocated_memory",)

#: Function that returns the bytes up to which a device does not slow down, of those that report no free memory (torch.mps).
RECOMMENDED = (), ("recommended_max_memory",)

#: Functions of `torch.accelerator` and of device modules that return the free and the total bytes.
MEMORY_FUNCTIONS = ("get_memory_info", "mem_get_info")


def measure_memory(device: str) -> Memory:
    """Return the bytes that this process holds on the host and on the one device that it uses.

    Args:
        device: The device, such as ``cuda:1``. No other one is queried, since that could create a context there.
    """
    held, allocated, peak = {"host": _resident_bytes()}, {}, {}
    torch_device = torch.device(device)
    if torch_device.type != "cpu":
        name = f"{torch_device.type}:{torch_device.index or 0}"
        allocated[name] = _query_bytes(torch_device, *ALLOCATED)
        held[name] = max(_query_bytes(torch_device, *RESERVED), allocated[name])
        peak[name] = _query_bytes(torch_device, *PEAK)
    return Memory(held, allocated, peak)


def device_memory(device: str) -> tuple[int, int, int] | None:
    """Return the free and the total bytes of a device, and those that this process has reserved; None if not known.

    Of a device that reports only how much is recommended, as MPS does, what others hold is not known and counts as free.
    """
    torch_device = torch.device(device)
    if torch_device.type == "cpu":
        return None
    own = max(_query_bytes(torch_device, *RESERVED), _query_bytes(torch_device, *ALLOCATED))
    if reported := _reported_memory(torch_device):
        return *reported, own
    total = _query_bytes(torch_device, *RECOMMENDED)
    return (max(0, total - own), total, own) if total else None


def usable_memory(device: str) -> int | None:
    """Return the bytes of a device that this process may allocate: what is free or kept for reuse; None if it is not known."""
    known = device_memory(device)
    return None if known is None else known[0] + known[2] - _query_bytes(torch.device(device), *ALLOCATED)


def reset_peak(device: str) -> None:
    """Begin to measure the largest number of bytes of tensors on a device."""
    torch_device = torch.device(device)
    for module in _device_modules(torch_device):
        with contextlib.suppress(Exception):
            module.reset_peak_memory_stats(torch_device.index or 0)


def reset_host_peak() -> int | None:
    """Begin to measure the most bytes of the host that this process holds; return those that it holds now, None if unknown."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    return _resident_bytes() or None


def host_peak() -> int:
    """Return the most bytes of the host that this process has held since `reset_host_peak`; 0 if they are not known."""
    with contextlib.suppress(OSError, ValueError):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        if found := re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE):
            return 1024 * int(found[1])
    return 0


def free_memory(device: str | None) -> int | None:
    """Return the free bytes of a device; None if torch does not report them.

    Args:
        device: The device; None, or ``accelerator``, is the one that this process has initialized, if any.
    """
    named = device not in (None, ACCELERATOR)
    torch_device = _parse_device(str(device)) if named else _initialized_device()
    reported = None if torch_device is None or torch_device.type == "cpu" else _reported_memory(torch_device)
    return reported[0] if reported else None


def reports_memory(device: str) -> bool:
    """Return whether torch has a function for the free memory of a type of device, which may fail now and then."""
    return hasattr(torch.get_device_module(device), MEMORY_FUNCTIONS[-1])


def release_memory(device: str) -> None:
    """Release cached memory of the process on a device; errors of the device are only logged."""
    gc.collect()
    torch_device = torch.device(device)
    if torch_device.type == "cpu":
        return
    for module in _device_modules(torch_device):
        try:
            getattr(module, "empty_cache", _do_nothing)()
        except Exception as error:  # noqa: BLE001 (a failed device raises any exception; it was reported before)
            logger.debug("releasing the memory of %s failed: %s", device, error)


def _do_nothing() -> None:
    """Replace a function that a device module does not have."""


def _parse_device(name: str) -> torch.device | None:
    """Return the device with a name, which may be that of a configuration; None if torch has no such device."""
    try:
        torch.get_device_module(name)
        return torch.device(name)
    except RuntimeError:
        return None


def _reported_memory(device: torch.device) -> tuple[int, int] | None:
    """Return the free and the total bytes that torch reports of a device; None if it does not."""
    for module in _device_modules(device):
        for name in MEMORY_FUNCTIONS:
            with contextlib.suppress(Exception):
                free, total = getattr(module, name)(device.index or 0)
                return int(free), int(total)
    return None


def _device_modules(device: torch.device) -> tuple[Any, ...]:
    """Return the torch modules that may report a device's memory: `torch.accelerator` and the device module."""
    module: ModuleType = torch.get_device_module(device)
    return torch.accelerator, module


def _initialized_device() -> torch.device | None:
    """Return the accelerator that this process has initialized; None if there is none."""
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None:
        return None
    is_initialized: Callable[[], bool] | None = getattr(torch.get_device_module(accelerator), "is_initialized", None)
    return accelerator if is_initialized is not None and is_initialized() else None


def _query_bytes(device: torch.device, with_index: tuple[str, ...], without_index: tuple[str, ...]) -> int:
    """Return the largest value that the functions report; those of devices without an allocator return 0 or raise."""
    values = [0]
    for module in _device_modules(device):
        for name in (*with_index, *without_index):
            with contextlib.suppress(Exception):
                values.append(int(getattr(module, name)(*([device.index or 0] if name in with_index else []))))
    return max(values)


def _resident_bytes() -> int:
    """Return the process's resident memory in bytes; 0 if the system does not report it."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
