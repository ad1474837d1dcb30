"""Measure the time and the memory of a call of a pipeline."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from octabox.engine.memory.host import host_memory, reserve
from octabox.engine.worker.batches.limits import Sample
from octabox.engine.worker.placement.process_memory import (
    host_peak,
    measure_memory,
    reset_host_peak,
    usable_memory,
)


class Measurement:
    """What a call takes; `sample` is valid after the context of `measured`.

    Args:
        device: The device that it runs on.
    """

    def __init__(self, device: str) -> None:
        self._device, self._seconds, self._peak = device, 0.0, 0
        self._is_host = torch.device(device).type == "cpu"
        held = measure_memory(device) if not self._is_host else None
        self._allocated = 0 if held is None else max(held.allocated.values(), default=0)
        self._available = free_host_bytes(device) if self._is_host else usable_memory(device)
        self._host_bytes = reset_host_peak() if self._is_host else None
        self._device_module = None if self._is_host else torch.get_device_module(torch.device(device))
        if self._device_module is not None:
            with contextlib.suppress(Exception):
                self._device_module.reset_peak_memory_stats()
        self._began = time.perf_counter()

    def end(self) -> None:
        """End the measurement."""
        self._seconds = time.perf_counter() - self._began
        if self._host_bytes is not None:
            self._peak = max(0, host_peak() - self._host_bytes)
        if self._device_module is not None:
            with contextlib.suppress(Exception):
                self._peak = max(0, int(self._device_module.max_memory_allocated()) - self._allocated)

    def sample(self) -> Sample:
        """Return what the call took."""
        return Sample(self._seconds, self._peak, self._available)


@contextmanager
def measured(device: str) -> Iterator[Measurement]:
    """Measure what is done on a device within the context."""
    measurement = Measurement(device)
    yield measurement
    measurement.end()


def free_host_bytes(device: str) -> int | None:
    """Return the free bytes of the host, less its reserve, for a model that runs on it; None for others, and if not known."""
    known = host_memory() if torch.device(device).type == "cpu" else None
    return None if known is None else max(0, known[0] - reserve(known[1]))
