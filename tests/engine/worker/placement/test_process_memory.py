"""The memory of devices, by whatever name they have."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from octabox.config.model import ModelConfig
from octabox.engine.worker.failures import to_load_error
from octabox.engine.worker.placement import process_memory
from octabox.engine.worker.placement.process_memory import free_memory, host_peak, reset_host_peak
from octabox.errors import OutOfMemoryError


@pytest.mark.parametrize("device", ["accelerator", "nonsense", "fpga", "cuda:x", "cpu", None])
def test_a_device_that_torch_does_not_have_has_no_free_memory(device: str | None) -> None:
    """Nor has one that is only named in a configuration."""
    assert free_memory(device) is None


@pytest.mark.parametrize("device", ["accelerator", None])
def test_an_accelerator_without_a_name_is_the_one_in_use(device: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a configuration does not name it."""
    monkeypatch.setattr(process_memory, "_initialized_device", lambda: torch.device("cuda:1"))
    monkeypatch.setattr(process_memory, "_reported_memory", lambda device: {"cuda:1": (5, 9)}[str(device)])

    assert 5 == free_memory(device)


@pytest.mark.parametrize("device", ["accelerator", "nonsense"])
def test_a_load_that_runs_out_of_memory_is_reported(device: str) -> None:
    """Whatever device the configuration requests, the server gets the error."""
    model = ModelConfig(name="x", model="/nowhere/x", device=device)
    error = to_load_error(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), model)

    assert isinstance(error, OutOfMemoryError)
    assert (2 * 2**30, None) == (error.requested, error.free)
    assert "accelerator" not in error.message


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="The system does not report the peak.")
def test_the_peak_of_the_host_is_that_since_its_reset() -> None:
    """It counts what was released again, but nothing before the reset."""
    size = 2**27
    del (before := [torch.ones(size // 2)])[:]
    held = reset_host_peak()
    assert held is not None
    assert host_peak() - held < size // 2
    del (during := [torch.ones(size // 4)])[:]

    assert not before
    assert not during
    assert host_peak() - held > size // 2
