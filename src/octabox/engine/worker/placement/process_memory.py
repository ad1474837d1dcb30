"""How much memory a worker holds on the host and on its device, and how unused memory is released."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from octabox.engine.messages import Memory

logger = logging.getLogger("octabox.worker")

#: Functions of `torch.accelerator` and of the devices' own modules that return a number of bytes, by what they count. Those of
#: the second line take no index, as torch.mps has them.
ALLOCATED = ("memory_allocated",), ("current_allocated_memory",)
RESERVED = ("memory_reserved",), ("driver_allocated_memory",)


def measure_memory(device: str) -> Memory:
    """Return the bytes that this process holds on the host and on the one device that it uses.

    Args:
        device: The device, such as ``cuda:1``; no other one is asked, since that could create a context there.
    """
    held, allocated = {"host": _resident()}, {}
    place = torch.device(device)
    if place.type != "cpu":
        name = f"{place.type}:{place.index or 0}"
        allocated[name] = _count(place, *ALLOCATED)
        held[name] = max(_count(place, *RESERVED), allocated[name])
    return Memory(held, allocated)


def free_memory(device: str | None) -> int | None:
    """Return the bytes that are free on a device, for every process; None where torch does not report them.

    Args:
        device: The device; None is the accelerator that this process has initialised, if any.
    """
    place = torch.device(device) if device else _initialized()
    if place is None or place.type == "cpu":
        return None
    for module in _modules(place):
        for name in ("get_memory_info", "mem_get_info"):
            with contextlib.suppress(Exception):
                return int(getattr(module, name)(place.index or 0)[0])
    return None


def release_memory(device: str) -> None:
    """Return memory that the process keeps for reuse to the device; failures of the device are logged only."""
    gc.collect()
    place = torch.device(device)
    if place.type == "cpu":
        return
    for module in _modules(place):
        try:
            getattr(module, "empty_cache", _do_nothing)()
        except Exception as error:  # noqa: BLE001 (a broken device raises anything, which was reported before)
            logger.debug("releasing the memory of %s failed: %s", device, error)


def _do_nothing() -> None:
    """Stand for a function that a device's module does not have."""


def _modules(device: torch.device) -> tuple[Any, ...]:
    """Return the modules of torch that may report a device's memory: the general one and the device's own."""
    module: ModuleType = torch.get_device_module(device)
    return torch.accelerator, module


def _initialized() -> torch.device | None:
    """Return the accelerator that this process has initialised; None if there is none."""
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None:
        return None
    asked: Callable[[], bool] | None = getattr(torch.get_device_module(accelerator), "is_initialized", None)
    return accelerator if asked is not None and asked() else None


def _count(device: torch.device, by_index: tuple[str, ...], without: tuple[str, ...]) -> int:
    """Return the largest of a device's figures; one that knows nothing of an allocator returns 0 or raises."""
    found = [0]
    for module in _modules(device):
        for name in (*by_index, *without):
            with contextlib.suppress(Exception):
                found.append(int(getattr(module, name)(*([device.index or 0] if name in by_index else []))))
    return max(found)


def _resident() -> int:
    """Return the process's resident memory in bytes; where the system does not report it, 0."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
