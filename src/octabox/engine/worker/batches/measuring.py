"""Measure the time and the memory of a call of a pipeline."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from octabox.engine.worker.batches.limits import Sample
from octabox.engine.worker.placement.process_memory import measure_memory, usable_memory


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
        self._available = usable_memory(device)
        self._device_module = None if self._is_host else torch.get_device_module(torch.device(device))
        if self._device_module is not None:
            with contextlib.suppress(Exception):
                self._device_module.reset_peak_memory_stats()
        self._began = time.perf_counter()

    def end(self) -> None:
        """End the measurement."""
        self._seconds = time.perf_counter() - self._began
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
