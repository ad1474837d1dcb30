"""The memory mode that is selected before a load."""

from __future__ import annotations

import pytest
import torch

from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.memory_modes import loading
from octabox.engine.worker.memory_modes.decision import WeightSizes
from octabox.engine.worker.memory_modes.loading import mode_after_failure, resolve_memory

GIB = 2**30

#: A denoiser with an encoder.
SIZES = WeightSizes({"unet": 4 * GIB, "text_encoder": GIB}, frozenset({"text_encoder"}), frozenset({"unet"}), GIB // 4)


@pytest.mark.parametrize(
    ("sizes", "available", "reason"),
    [
        (SIZES, None, "The free memory of mps:0 is not known."),
        (None, None, "The free memory of mps:0 is not known."),
        (None, 8 * GIB, "The size of its weights is not known before the load."),
        (SIZES, 8 * GIB, "All weights and the call need 5.31 GiB, and mps:0 has 8.00 GiB for them."),
    ],
)
def test_the_reason_is_what_is_not_known(
    sizes: WeightSizes | None, available: int | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the device or of the model; all weights are on the device then."""
    monkeypatch.setattr(loading, "file_sizes", lambda *_: sizes)
    monkeypatch.setattr(loading, "available_memory", lambda *_: available)
    config, found = resolve_memory(ModelConfig(name="x", model="/nowhere/x"), "P", "mps:0", WorkerOptions())

    assert ("full", reason) == (config.memory, found)


@pytest.mark.parametrize(
    ("memory", "mode", "device", "sizes", "following"),
    [
        ("auto", "full", "cuda:0", SIZES, "encoder_offload"),
        ("auto", "full", "cuda:0", None, "encoder_offload"),
        ("auto", "full", "cuda:0", WeightSizes({"model": GIB}, groups=GIB // 8), "group_offload"),
        ("auto", "group_offload", "cuda:0", SIZES, None),
        ("full", "full", "cuda:0", SIZES, None),
        ("auto", "full", "cpu", SIZES, None),
    ],
)
def test_the_mode_after_a_failure_needs_less(
    memory: str,
    mode: str,
    device: str,
    sizes: WeightSizes | None,
    following: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the mode is selected, and memory ran out on the device."""
    monkeypatch.setattr(loading, "file_sizes", lambda *_: sizes)
    config = ModelConfig.model_validate({"name": "x", "model": "/nowhere/x", "memory": memory})

    def after(error: Exception) -> str | None:
        return mode_after_failure(config, mode, device, WorkerOptions(), error)

    assert following == after(torch.OutOfMemoryError("CUDA out of memory."))
    assert after(MemoryError()) is None, "it ran out on the host"
    assert after(RuntimeError("shapes")) is None
