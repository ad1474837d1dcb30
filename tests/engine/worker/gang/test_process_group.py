"""The devices of a gang, where its worker chooses them."""

from __future__ import annotations

from typing import Any

import pytest

from octabox.config.model import ModelConfig
from octabox.engine.worker.gang import process_group
from octabox.engine.worker.gang.process_group import find_devices
from octabox.errors import LoadError


def devices_of(parallel: Any, device: str | None = None, default: str | None = None) -> tuple[str, ...]:
    """Return the devices of a model."""
    return find_devices(ModelConfig(name="m", model="owner/name", parallel=parallel, device=device), default)


@pytest.fixture(autouse=True)
def _accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine have two accelerators."""
    monkeypatch.setattr(process_group, "device_names", lambda: ["cuda:0", "cuda:1"])


def test_a_worker_takes_the_devices_that_are_left_to_it() -> None:
    """Such as those of a place on a node of a cluster, or those that the server has chosen."""
    assert ("cuda:0", "cuda:1") == devices_of(2)
    assert ("cuda:0", "cuda:1") == devices_of(2, "cuda")
    assert ("cuda:1", "cuda:0") == devices_of({"devices": ["cuda:1", "cuda:0"]})
    assert ("cpu", "cpu", "cpu") == devices_of(3, "cpu") == devices_of(3, None, "cpu")


@pytest.mark.parametrize(("device", "count"), [(None, 2), ("cuda", 2), ("accelerator", 2), ("mps", 0)])
def test_too_few_are_an_error(device: str | None, count: int) -> None:
    """It states how many there are of the type."""
    with pytest.raises(LoadError, match=f"over 3 devices by `parallel`, and {count} can be used here"):
        devices_of(3, device)
