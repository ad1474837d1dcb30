"""Flags of torch that a model on CUDA sets in its process; a build of torch for the CPU has these flags too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from octabox.config.performance import PerformanceConfig, effective_settings
from octabox.engine.worker.performance.plan import PerformancePlan
from octabox.engine.worker.performance.torch_flags import set_torch_flags

#: The precision of matrix products, and whether convolutions may be in TF32, as torch has them by default.
DEFAULT = ("highest", True)


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pretend cuDNN, and leave the flags as other tests expect them."""
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    yield
    applied()


def applied(device: str = "cuda:0", **settings: Any) -> tuple[PerformancePlan, tuple[str, bool]]:
    """Return the plan and the flags after the settings of a configuration were applied."""
    config = PerformanceConfig(**settings)
    plan = PerformancePlan("m", device, effective_settings(config, "exact"), frozenset(config.overrides))
    set_torch_flags(plan)
    return plan, (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)


def test_false_is_float32() -> None:
    """For matrix products and for convolutions, which are in TF32 by default, also where the profile enables it."""
    for settings in ({"tf32": False}, {"tf32": False, "profile": "fast"}):
        plan, flags = applied(**settings)

        assert ("highest", False) == flags
        assert "in float32" in plan.applied["tf32"]


def test_true_is_tf32() -> None:
    """By itself and by a profile."""
    for settings in ({"tf32": True}, {"profile": "fast"}):
        assert ("high", True) == applied(**settings)[1]


def test_without_the_setting_the_flags_are_those_of_torch() -> None:
    """Also after a model that has set them."""
    assert DEFAULT == applied()[1]
    for value in (True, False):
        applied(tf32=value)

        assert DEFAULT == applied()[1]
        assert DEFAULT == applied(profile="exact")[1]


def test_other_devices_keep_the_flags() -> None:
    """There the same flags select smaller dtypes; only a setting that has no effect is a warning."""
    plan, flags = applied("cpu", tf32=True)

    assert DEFAULT == flags
    assert ["tf32" in each for each in plan.warnings] == [True]
    assert ([], DEFAULT) == (applied("cpu", tf32=False)[0].warnings, applied("cpu", tf32=False)[1])


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"cudnn_benchmark": True}, {"cudnn_benchmark"}),
        ({"tf32": True}, {"tf32"}),
        ({"cudnn_benchmark": True, "tf32": True}, {"cudnn_benchmark", "tf32"}),
        ({"profile": "fast"}, {"cudnn_benchmark", "tf32"}),
        ({"profile": "exact"}, set()),
        ({}, set()),
    ],
)
def test_flags_are_set_on_cuda(device: str, settings: dict[str, Any], expected: set[str]) -> None:
    """Each setting sets its own flags, also that of a profile, and is reported as applied."""
    plan, (precision, _) = applied(device, **settings)

    assert expected == {"cudnn_benchmark", "tf32"} & set(plan.applied)
    assert ("cudnn_benchmark" in expected) == torch.backends.cudnn.benchmark
    assert ("high" if "tf32" in expected else "highest") == precision


@pytest.mark.parametrize("device", ["cpu", "mps", "xpu:0"])
def test_no_flag_is_set_on_other_devices(device: str) -> None:
    """Both settings are skipped, with the reason."""
    plan, flags = applied(device, cudnn_benchmark=True, tf32=True)

    assert (DEFAULT, False) == (flags, torch.backends.cudnn.benchmark)
    assert {"cudnn_benchmark", "tf32"} == set(plan.skipped)


def test_a_build_without_cudnn_has_no_benchmark_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is skipped with the reason, and TF32 is set all the same."""
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: False)
    plan, flags = applied("cuda", cudnn_benchmark=True, tf32=True)

    assert (("high", True), False) == (flags, torch.backends.cudnn.benchmark)
    assert {"cudnn_benchmark": "there is no cuDNN on cuda"} == plan.skipped
