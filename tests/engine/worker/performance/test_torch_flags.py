"""Flags of torch that a model on CUDA sets in its process; a build of torch for the CPU has these flags too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.performance.optimizations import apply_performance
from octabox.engine.worker.performance.plan import PerformancePlan, plan_performance

#: The flags of a process that has set none: cuDNN's benchmark mode and TF32, and the precision of float32 matrix products.
UNSET = (False, False, "highest")


@pytest.fixture(autouse=True)
def _flags(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pretend cuDNN, unset each flag, and restore it afterwards."""
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    before = flags()
    set_flags(*UNSET)
    yield
    set_flags(*before)


def flags() -> tuple[bool, bool, str]:
    """Return the flags as torch has them."""
    return (
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.allow_tf32,
        torch.get_float32_matmul_precision(),
    )


def set_flags(benchmark: bool, tf32: bool, precision: str) -> None:
    """Set the flags of torch."""
    torch.backends.cudnn.benchmark = benchmark
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_float32_matmul_precision(precision)


def applied(device: str, performance: Any) -> PerformancePlan:
    """Apply performance settings to a model without components, and return their plan."""
    plan = plan_performance(ModelConfig(name="m", model="x", performance=performance), WorkerOptions(), device)
    apply_performance(None, {}, plan)
    return plan


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
@pytest.mark.parametrize(
    ("performance", "expected"),
    [
        ({"cudnn_benchmark": True}, (True, False, "highest")),
        ({"tf32": True}, (False, True, "high")),
        ({"cudnn_benchmark": True, "tf32": True}, (True, True, "high")),
        ({"profile": "fast", "compile": "off", "channels_last": False, "fuse_qkv": False}, (True, True, "high")),
        ("exact", UNSET),
        ({}, UNSET),
    ],
)
def test_flags_are_set_on_cuda(device: str, performance: Any, expected: tuple[bool, bool, str]) -> None:
    """Each setting sets its own flags, also that of a profile, and is reported as applied."""
    plan = applied(device, performance)

    assert expected == flags()
    assert {"cudnn_benchmark": expected[0], "tf32": expected[1]} == {
        name: name in plan.applied for name in ("cudnn_benchmark", "tf32")
    }


@pytest.mark.parametrize("device", ["cpu", "mps", "xpu:0"])
def test_no_flag_is_set_on_other_devices(device: str) -> None:
    """The same flags would select smaller dtypes there."""
    plan = applied(device, {"cudnn_benchmark": True, "tf32": True})

    assert UNSET == flags()
    assert {"cudnn_benchmark", "tf32"} == set(plan.skipped)


def test_a_build_without_cudnn_has_no_benchmark_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is skipped with the reason, and TF32 is set all the same."""
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: False)
    plan = applied("cuda", {"cudnn_benchmark": True, "tf32": True})

    assert (False, True, "high") == flags()
    assert {"cudnn_benchmark": "there is no cuDNN on cuda"} == plan.skipped
